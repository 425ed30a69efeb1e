"""Overlapping windows that predict every token once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import StridedWindows


@st.composite
def windows(draw):
    context = draw(st.integers(2, 9))
    ids = np.arange(100, 100 + draw(st.integers(2, 60)))
    stride = draw(st.integers(1, context))
    return StridedWindows(ids, context, stride, draw(st.integers(1, 4)))


@given(windows())
def test_every_token_is_predicted_once_after_a_long_past(cut):
    predicted = []
    for inputs, targets in cut:
        assert inputs.shape[1] < cut.context_length
        for row, target in zip(inputs, targets, strict=True):
            np.testing.assert_array_equal(target[target != -100], (row + 1)[target != -100])
            for place in np.flatnonzero(target != -100):
                past = place + 1
                assert past >= min(cut.context_length - cut.stride, target[place] - 100)
                predicted.append(target[place])
    expected = cut.ids[1:]
    if cut.stride == cut.context_length:  # then no window holds a token of the one before
        expected = expected[(expected - 100) % cut.stride != 0]
    assert predicted == expected.tolist()


@given(windows())
def test_the_batches_are_those_of_the_published_recipe(cut):
    rows = []
    before = 0
    for begin in range(0, len(cut.ids), cut.stride):
        end = min(begin + cut.context_length, len(cut.ids))
        labels = cut.ids[begin:end].copy()
        labels[: len(labels) - (end - before)] = -100
        if end - begin > 1:  # the recipe's batch of no predictions, which adds nothing
            rows.append((cut.ids[begin : end - 1].tolist(), labels[1:].tolist()))
        before = end
        if end == len(cut.ids):
            break
    ours = [
        (i.tolist(), t.tolist())
        for batch in cut
        for i, t in zip(*batch, strict=True)
    ]  # fmt: skip
    assert ours == rows
    assert len(list(cut)) == len(cut)


def test_numbers_out_of_range_are_refused():
    for arguments in ([range(9), 1], [range(9), 4, 0], [range(9), 4, 5], [range(9), 4, 2, 0]):
        with pytest.raises(ValueError, match="StridedWindows: context_length must be"):
            StridedWindows(*arguments)
    with pytest.raises(ValueError, match="a text of 1 tokens predicts none"):
        StridedWindows([3], 4)

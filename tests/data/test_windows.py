"""Sliding windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import TokenWindows


@st.composite
def windows(draw):
    context_length = draw(st.integers(1, 8))
    ids = np.random.default_rng(0).integers(0, 1000, draw(st.integers(context_length + 1, 60)))
    return TokenWindows(ids, context_length, draw(st.none() | st.integers(1, 10)))


def naive_windows(ids, context_length, stride):
    found = []
    start = 0
    while start + context_length + 1 <= len(ids):
        window = list(ids[start : start + context_length + 1])
        found.append((window[:-1], window[1:]))
        start += stride
    return found


@given(windows())
def test_windows_are_those_of_slicing(data):
    expected = naive_windows(data.ids, data.context_length, data.stride)
    assert len(data) == len(expected)
    for i in range(-len(data), len(data)):
        inputs, targets = data[i]
        assert inputs.dtype == targets.dtype == np.int64
        assert (inputs.tolist(), targets.tolist()) == expected[i]


@given(windows(), st.data())
def test_a_batch_is_its_windows_stacked(data, draw):
    indices = draw.draw(st.lists(st.integers(-len(data), len(data) - 1), max_size=6))
    inputs, targets = data.batch(indices)
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.shape == targets.shape == (len(indices), data.context_length)
    for row, i in enumerate(indices):
        np.testing.assert_array_equal(inputs[row], data[i][0])
        np.testing.assert_array_equal(targets[row], data[i][1])


@given(windows(), st.integers(0, 100))
def test_a_window_that_is_not_there_is_an_index_error(data, beyond):
    for index in (len(data) + beyond, -len(data) - 1 - beyond):
        with pytest.raises(IndexError, match=f"no window {index}; there are {len(data)}"):
            data[index]
        with pytest.raises(IndexError, match=f"no window {index}; there are {len(data)}"):
            data.batch([0, index])


def test_iterating_gives_every_window_once():
    data = TokenWindows(np.arange(11), 3, stride=2)
    assert [inputs[0] for inputs, _ in data] == [0, 2, 4, 6]


def test_without_a_stride_every_token_is_an_input_at_most_once():
    data = TokenWindows(np.arange(100), 7)
    inputs, targets = data.batch(range(len(data)))
    np.testing.assert_array_equal(inputs.ravel(), np.arange(98))
    np.testing.assert_array_equal(targets.ravel(), np.arange(98) + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32])
def test_targets_of_any_integers_may_be_set_to_minus_100(dtype):
    ids = np.arange(10, dtype=dtype)
    _, targets = TokenWindows(ids, 4).batch([0, 1])
    targets[0, 0] = -100
    assert targets[0, 0] == -100
    np.testing.assert_array_equal(ids, np.arange(10))


def test_a_memory_map_is_read_where_it_is(tmp_path):
    np.arange(50, dtype=np.uint16).tofile(tmp_path / "ids.bin")
    ids = np.memmap(tmp_path / "ids.bin", np.uint16, mode="r")
    data = TokenWindows(ids, 4)
    assert data.ids is ids
    inputs, targets = data[-1]
    assert (inputs.tolist(), targets.tolist()) == ([44, 45, 46, 47], [45, 46, 47, 48])


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_tokens_are_counted_in_the_error(count):
    with pytest.raises(
        ValueError, match=rf"{count} tokens are too few .* context of 4, .* needs 5"
    ):
        TokenWindows(list(range(count)), 4)
    assert len(TokenWindows(range(5), 4)) == 1


@pytest.mark.parametrize("ids", [np.zeros((10, 10), int), np.zeros(10), ["a"] * 10, np.int64(3)])
def test_ids_that_are_no_row_of_integers_are_refused(ids):
    with pytest.raises(ValueError, match="must be integers in one dimension"):
        TokenWindows(ids, 4)


@pytest.mark.parametrize(("context_length", "stride"), [(0, None), (-1, 2), (4, 0), (4, -3)])
def test_lengths_below_one_are_refused(context_length, stride):
    with pytest.raises(ValueError, match="must be at least 1"):
        TokenWindows(np.arange(10), context_length, stride)

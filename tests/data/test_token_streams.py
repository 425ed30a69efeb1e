"""Streams of a text, read side by side."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt.data import DataLoader, HeldOutBatches, TokenStreams, TokenWindows
from npgpt.ops import IGNORE_INDEX

counts, lengths = st.integers(1, 5), st.integers(1, 6)


@st.composite
def streams(draw):
    count, length = draw(counts), draw(lengths)
    tokens = count * length + 1 + draw(st.integers(0, 30))
    return TokenStreams(np.arange(tokens, dtype=np.uint16), count, length)


@settings(max_examples=50)
@given(streams(), st.integers(0, 2))
def test_an_epoch_predicts_every_token_once_each_stream_in_order(streams, prefetch):
    loader = DataLoader(streams, streams.num_streams, prefetch=prefetch)
    for _ in range(2):
        epoch = list(loader)
        texts = [[] for _ in range(streams.num_streams)]
        for piece, (inputs, targets, begins) in enumerate(epoch):
            assert (begins == (piece == 0)).all()
            if piece < len(epoch) - 1:
                assert inputs.shape == (streams.num_streams, streams.piece_length)
            for text, row, following in zip(texts, inputs, targets, strict=True):
                there = following != IGNORE_INDEX
                np.testing.assert_array_equal(following[there], row[there] + 1)
                assert there[: there.sum()].all()  # only behind an end is filled up
                text.extend(row[there].tolist())
        assert inputs.shape[1] <= streams.piece_length + 1
        assert list(itertools.chain(*texts)) == list(range(len(streams.ids) - 1))
        assert max(map(len, texts)) - min(map(len, texts)) <= 1


@given(streams(), st.integers(1, 4))
def test_of_few_held_out_batches_each_goes_on_where_the_one_before_ended(streams, most):
    batches = list(HeldOutBatches(streams, streams.num_streams, most))
    whole = DataLoader(streams, streams.num_streams)
    assert len(batches) == min(most, len(whole))
    for ours, theirs in zip(batches, whole, strict=False):
        for array, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(array, other)


def test_each_of_several_processes_has_the_same_streams_at_every_step():
    streams = TokenStreams(np.arange(49), 4, 3)
    loaders = [DataLoader(streams, 2, rank=rank, world_size=2) for rank in range(2)]
    for batch, *parts in zip(DataLoader(streams, 4), *loaders, strict=True):
        for array, *shares in zip(batch, *parts, strict=True):
            np.testing.assert_array_equal(array, np.concatenate(shares))


def test_examples_of_any_order_are_stacked():
    streams = TokenStreams(np.arange(11), 2, 3)  # pieces of 3 and 2
    inputs, targets, begins = streams.batch([3, 0])
    assert inputs[0, :2].tolist() == [8, 9]
    assert targets.tolist() == [[9, 10, IGNORE_INDEX], [1, 2, 3]]
    assert begins.tolist() == [False, True]
    with pytest.raises(IndexError, match="no piece 4; there are 4"):
        streams.batch([4])


def test_a_position_in_pieces_of_another_length_is_refused():
    loader = DataLoader(TokenStreams(np.arange(10), 1, 6), 1)
    other = DataLoader(TokenStreams(np.arange(10), 1, 7), 1)
    assert len(loader) == len(other)
    with pytest.raises(ValueError, match="for piece_length 6, this loader has 7"):
        other.load_state_dict(loader.state_dict())
    assert "piece_length" not in DataLoader(TokenWindows(np.arange(9), 2), 1).state_dict()


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: TokenStreams(np.arange(6), 2, 3), "6 tokens are too few for 2 .* which need 7"),
        (lambda: TokenStreams(np.arange(6), 0, 3), "num_streams must be at least 1"),
        (lambda: TokenStreams(np.arange(6), 2, 0), "piece_length must be at least 1"),
        (
            lambda: DataLoader(TokenStreams(np.arange(9), 2, 3), 2, shuffle=True),
            "leave out shuffle",
        ),
        (lambda: DataLoader(TokenStreams(np.arange(9), 2, 3), 3), "batches of 2, not of 3"),
        (lambda: HeldOutBatches(TokenStreams(np.arange(9), 2, 3), 1), "batches of 2, not of 1"),
    ],
)
def test_what_cannot_follow_each_other_is_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()

"""Batches by tokens: each example once an epoch, never above the budget, the same after a resume."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import BatchLoader, DataLoader, HeldOutBudget, TokenBudget

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=200).map(np.array)
seeds = st.integers(0, 99)


class Indices:
    """A data set whose batches are the indices themselves."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def batch(self, indices):
        return (np.asarray(indices),)


def loader_of(lengths, budget=64, **options):
    return BatchLoader(Indices(lengths), TokenBudget(lengths, budget), **options)


@given(LENGTHS, st.integers(60, 300), seeds)
def test_an_epoch_has_each_example_once_and_no_batch_above_the_budget(lengths, budget, seed):
    loader = loader_of(lengths, budget, seed=seed)
    for _ in range(2):
        batches = [indices for (indices,) in loader]
        assert len(batches) == len(loader)
        assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
        for indices in batches:
            assert len(indices) > 0
            assert len(indices) * lengths[indices].max() <= budget


@given(st.lists(st.integers(20, 60), min_size=1, max_size=60).map(np.array), seeds)
def test_lengths_within_a_batch_are_within_a_tenth(lengths, seed):
    for (indices,) in loader_of(lengths, 500, seed=seed):
        assert lengths[indices].max() <= 1.1 * (lengths[indices].min() + 1)


def test_each_epoch_is_drawn_anew_and_from_the_seed():
    lengths = np.arange(300) % 50 + 1
    first, second, other = ([b[0].tolist() for b in loader_of(lengths, seed=s)] for s in (1, 1, 2))
    assert first == second != other
    loader = loader_of(lengths, seed=1)
    epochs = [[b[0].tolist() for b in loader] for _ in range(2)]
    assert epochs[0] == first != epochs[1]
    assert {*map(tuple, epochs[0])} != {*map(tuple, epochs[1])}  # not only another order


@given(LENGTHS, st.integers(0, 40), st.integers(0, 3), seeds)
def test_a_loader_goes_on_where_it_stood_with_any_prefetch(lengths, steps, prefetch, seed):
    whole = loader_of(lengths, seed=seed)
    expected = whole.forever()
    for _ in range(steps):
        next(expected)
    resumed = loader_of(lengths, seed=seed, prefetch=prefetch)
    resumed.load_state_dict(whole.state_dict())
    rest = resumed.forever()
    for _ in range(10):
        np.testing.assert_array_equal(next(rest)[0], next(expected)[0])


def test_a_position_of_other_batches_is_refused():
    lengths = np.arange(1, 30)
    state = loader_of(lengths).state_dict()
    with pytest.raises(ValueError, match="the saved position is for batch_sampler TokenBudget"):
        loader_of(lengths, 90).load_state_dict(state)
    with pytest.raises(ValueError, match="the saved position has no batch_size"):
        DataLoader(Indices(lengths), 2, shuffle=True).load_state_dict(state)


def test_processes_share_the_batches_of_an_epoch():
    lengths = np.arange(100) % 20 + 1
    alone = [b[0].tolist() for b in loader_of(lengths)]
    parts = [[b[0].tolist() for b in loader_of(lengths, rank=r, world_size=3)] for r in range(3)]
    together = [batch for step in zip(*parts, strict=True) for batch in step]
    assert together == alone[: len(together)]
    assert len(alone) - len(together) < 3
    with pytest.raises(ValueError, match="BatchLoader: 1 batches are too few for 2 processes"):
        loader_of(np.array([3, 3]), world_size=2)


def test_what_is_held_out_has_the_same_batches_every_time():
    lengths = np.arange(100) % 20 + 1
    held_out = HeldOutBudget(Indices(lengths), TokenBudget(lengths, 64))
    twice = [[b[0].tolist() for b in held_out] for _ in range(2)]
    assert twice[0] == twice[1]
    assert sorted(np.concatenate(twice[0])) == list(range(100))
    some = HeldOutBudget(Indices(lengths), TokenBudget(lengths, 64), max_batches=5)
    assert [b[0].tolist() for b in some] == twice[0][:5]
    assert len(some) == 5
    assert "5 batches of TokenBudget(100 examples, 1050 tokens, batch_tokens=64)" in repr(some)


def test_an_example_beyond_the_budget_is_refused():
    with pytest.raises(
        ValueError, match="example 1 has 9 tokens, more than the 8 of a batch; raise"
    ):
        TokenBudget([1, 9, 3], 8)
    with pytest.raises(ValueError, match="there are no examples"):
        TokenBudget([], 8)

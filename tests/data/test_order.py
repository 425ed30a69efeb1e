"""Random orders that are computed, not stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import DataLoader, TokenWindows, loader
from npgpt.data.order import RandomOrder


@given(st.integers(1, 3000), st.lists(st.integers(0, 2**32), min_size=1, max_size=2))
def test_every_number_comes_once(size, seed):
    order = RandomOrder(size, seed)
    assert sorted(order[0:size].tolist()) == list(range(size))


@given(st.integers(1, 2**40), st.integers(0, 2**40), st.integers(0, 50))
def test_any_part_is_the_same_whether_asked_for_alone_or_with_others(size, start, length):
    order = RandomOrder(size, [7])
    part = order[start : start + length]
    assert len(part) == max(0, min(size, start + length) - start)
    for i, value in enumerate(part.tolist()):
        assert order[start + i : start + i + 1].tolist() == [value]
        assert 0 <= value < size


def test_seeds_give_different_orders_that_are_not_sorted():
    orders = {
        tuple(RandomOrder(50, [seed, epoch])[0:50]) for seed in range(4) for epoch in range(4)
    }
    assert len(orders) == 16
    assert tuple(range(50)) not in orders


def test_places_are_spread_evenly():
    values = RandomOrder(10**9, [0])[0:20_000] / 10**9
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    assert abs(counts - 1000).max() < 200  # six standard deviations


@pytest.mark.parametrize("world_size", [1, 3])
def test_a_loader_of_very_many_windows_shuffles_and_resumes_without_a_list(monkeypatch, world_size):
    monkeypatch.setattr(loader, "LARGEST_LIST", 10)
    windows = TokenWindows(np.arange(31), 1)
    ranks = [
        DataLoader(windows, 2, shuffle=True, seed=3, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    first = [[inputs[:, 0].tolist() for inputs, _ in rank] for rank in ranks]
    seen = [i for rank in first for batch in rank for i in batch]
    assert sorted(seen) == list(range(30))
    assert seen != sorted(seen)
    again = DataLoader(windows, 2, shuffle=True, seed=3, world_size=world_size)
    state = again.state_dict()
    again.load_state_dict({**state, "batch": 2})
    assert [inputs[:, 0].tolist() for inputs, _ in again] == first[0][2:]

"""The data loader: order, epochs, and positions that can be saved."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import DataLoader, TokenWindows


def make(num_windows, batch_size, **settings):
    # a window of one token: its input names the window
    return DataLoader(TokenWindows(np.arange(num_windows + 1), 1), batch_size, **settings)


def names(batch):
    inputs, targets = batch
    np.testing.assert_array_equal(targets, inputs + 1)
    return inputs[:, 0].tolist()


LOADERS = st.builds(
    lambda rest, batch_size, **settings: (batch_size + rest, batch_size, settings),
    st.integers(0, 12),
    st.integers(1, 5),
    shuffle=st.booleans(),
    seed=st.integers(0, 3),
    drop_last=st.booleans(),
    prefetch=st.integers(0, 3),
)


# --- epochs ----------------------------------------------------------------------------------


@given(LOADERS)
def test_an_epoch_has_every_window_once_but_for_the_dropped_rest(arguments):
    num_windows, batch_size, settings = arguments
    loader = make(num_windows, batch_size, **settings)
    for _ in range(3):
        epoch = [names(batch) for batch in loader]
        assert len(epoch) == len(loader)
        seen = list(itertools.chain(*epoch))
        assert len(seen) == len(set(seen))
        dropped = num_windows % batch_size if settings["drop_last"] else 0
        assert len(seen) == num_windows - dropped
        assert all(len(batch) == batch_size for batch in epoch[:-1])
        if not settings["shuffle"]:
            assert seen == list(range(len(seen)))


def test_every_epoch_and_every_seed_has_its_own_order():
    orders = set()
    for seed in range(3):
        loader = make(30, 30, shuffle=True, seed=seed)
        orders |= {tuple(names(batch)) for batch in itertools.islice(loader.forever(), 4)}
    assert len(orders) == 12
    assert tuple(range(30)) not in orders


@given(LOADERS)
def test_the_same_seed_gives_the_same_batches(arguments):
    num_windows, batch_size, settings = arguments
    one, other = (make(num_windows, batch_size, **settings) for _ in range(2))
    for first, second in itertools.islice(zip(one.forever(), other.forever(), strict=True), 20):
        assert names(first) == names(second)


def test_forever_is_one_epoch_after_the_other():
    loader = make(7, 3, shuffle=True)
    expected = [names(batch) for _ in range(4) for batch in loader]
    again = make(7, 3, shuffle=True)
    assert [names(batch) for batch in itertools.islice(again.forever(), 12)] == expected


def test_an_epoch_that_was_left_is_taken_up_where_it_was_left():
    loader = make(10, 2)
    for batch in loader:
        if names(batch) == [2, 3]:
            break
    assert [names(batch) for batch in loader] == [[4, 5], [6, 7], [8, 9]]
    assert len([names(batch) for batch in loader]) == 5  # and then a whole one


# --- saved positions -------------------------------------------------------------------------


@given(LOADERS)
def test_a_loader_resumed_at_any_position_goes_on_as_if_it_had_never_stopped(arguments):
    num_windows, batch_size, settings = arguments
    loader = make(num_windows, batch_size, **settings)
    length = 2 * len(loader) + 1
    states, batches = [], []
    stream = loader.forever()
    for _ in range(length):
        states.append(json.dumps(loader.state_dict()))  # as a checkpoint keeps it
        batches.append(names(next(stream)))
    for position, state in enumerate(states):
        resumed = make(num_windows, batch_size, **settings)
        resumed.load_state_dict(json.loads(state))
        rest = itertools.islice(resumed.forever(), length - position)
        assert [names(batch) for batch in rest] == batches[position:]


def test_a_resumed_epoch_ends_where_it_would_have_ended():
    loader = make(10, 2, shuffle=True)
    epoch = iter(loader)
    next(epoch), next(epoch)
    resumed = make(10, 2, shuffle=True)
    resumed.load_state_dict(loader.state_dict())
    assert [names(batch) for batch in resumed] == [names(batch) for batch in epoch]


def test_the_state_names_the_next_batch_from_before_it_is_used():
    loader = make(4, 2)
    positions = [(loader.epoch, loader.batch)]
    for _ in itertools.islice(loader.forever(), 4):
        positions.append((loader.state_dict()["epoch"], loader.state_dict()["batch"]))
    assert positions == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]


def test_a_position_loaded_between_batches_moves_the_iteration_under_way():
    loader = make(8, 2)
    start = loader.state_dict()
    stream = loader.forever()
    next(stream), next(stream)
    loader.load_state_dict(start)
    assert names(next(stream)) == [0, 1]
    loader.load_state_dict({**start, "epoch": 5, "batch": 3})
    assert names(next(stream)) == [6, 7]
    assert loader.epoch == 6


def test_an_epoch_that_is_moved_back_still_goes_to_its_end():
    loader = make(8, 2)
    start = loader.state_dict()
    epoch = iter(loader)
    next(epoch), next(epoch)
    loader.load_state_dict(start)
    assert [names(batch) for batch in epoch] == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_windows": 11}, "num_windows 11, this loader has 10"),
        ({"batch_size": 4}, "batch_size 4, this loader has 2"),
        ({"shuffle": False}, "shuffle False, this loader has True"),
        ({"seed": 1}, "seed 1, this loader has 0"),
        ({"drop_last": True}, "drop_last True, this loader has False"),
        ({"batch": 5}, "no batch 5 of epoch 0; an epoch has 5 batches"),
        ({"batch": -1}, "no batch -1 of epoch 0"),
        ({"epoch": -1}, "no batch 0 of epoch -1"),
    ],
)
def test_a_position_of_another_loader_is_refused(change, message):
    loader = make(10, 2, shuffle=True)
    next(iter(loader))
    state = loader.state_dict()
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict({**make(10, 2, shuffle=True).state_dict(), **change})
    assert loader.state_dict() == state


@pytest.mark.parametrize(
    "name", ["epoch", "batch", "num_windows", "batch_size", "shuffle", "seed", "drop_last"]
)
def test_a_position_with_a_part_missing_is_refused(name):
    loader = make(10, 2)
    state = loader.state_dict()
    del state[name]
    with pytest.raises(ValueError, match=f"the saved position has no {name}"):
        loader.load_state_dict(state)


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [0, -2])
def test_a_batch_size_below_one_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        make(10, batch_size)


def test_reading_ahead_hands_out_the_same_batches():
    plain = make(23, 3, shuffle=True, seed=4)
    ahead = make(23, 3, shuffle=True, seed=4, prefetch=2)
    for theirs, ours in itertools.islice(zip(plain.forever(), ahead.forever(), strict=True), 30):
        assert names(ours) == names(theirs)
        assert ahead.state_dict() == plain.state_dict()


def test_an_error_of_the_reading_thread_reaches_the_caller():
    loader = make(6, 2, prefetch=1)
    loader.dataset.batch = None  # what cannot be called
    with pytest.raises(TypeError, match="not callable"):
        next(iter(loader))


def test_a_negative_prefetch_is_refused():
    with pytest.raises(ValueError, match="prefetch must be at least 0, got -1"):
        make(4, 2, prefetch=-1)


def test_an_epoch_without_a_batch_is_refused():
    with pytest.raises(ValueError, match="3 windows do not fill one batch of 4"):
        make(3, 4, drop_last=True)
    assert len(make(3, 4)) == 1
    assert len(make(4, 4, drop_last=True)) == 1


# --- processes that train together -----------------------------------------------------------


@given(LOADERS, st.integers(2, 4))
def test_processes_share_every_step_and_no_window_is_seen_twice(arguments, world_size):
    num_windows, batch_size, settings = arguments
    num_windows = max(num_windows, batch_size * world_size)
    ranks = [
        make(num_windows, batch_size, **settings, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    whole = make(num_windows, batch_size * world_size, **settings)
    assert len({len(loader) for loader in ranks}) == 1
    for _ in range(2):
        seen = []
        for step in zip(*ranks, strict=True):
            parts = [names(batch) for batch in step]
            assert len({len(part) for part in parts}) == 1
            seen.append([*itertools.chain(*parts)])
        assert seen == [names(b)[: len(s)] for b, s in zip(whole, seen, strict=False)]
        lost = num_windows - len(set(itertools.chain(*seen)))
        assert lost < world_size or settings["drop_last"]
        whole.load_state_dict({**whole.state_dict(), "epoch": ranks[0].epoch, "batch": 0})


def test_a_position_of_one_process_is_that_of_all():
    one, other = (make(20, 2, shuffle=True, rank=rank, world_size=2) for rank in (0, 1))
    stream = one.forever()
    next(stream), next(stream)
    other.load_state_dict(one.state_dict())
    whole = make(20, 4, shuffle=True)
    whole.load_state_dict({**whole.state_dict(), "batch": 2})
    assert names(next(stream)) + names(next(iter(other))) == names(next(iter(whole)))
    with pytest.raises(ValueError, match="saved position has no world_size"):
        one.load_state_dict(make(20, 2, shuffle=True).state_dict())


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_is_not_there_is_refused(rank, world_size):
    with pytest.raises(ValueError, match=rf"got rank {rank} of {world_size}"):
        make(10, 2, rank=rank, world_size=world_size)


def test_too_few_windows_for_all_processes_are_refused():
    with pytest.raises(ValueError, match="3 windows are too few for 4 processes"):
        make(3, 1, world_size=4)
    with pytest.raises(ValueError, match="do not fill one batch of 2 for each of 4 processes"):
        make(7, 2, world_size=4, drop_last=True)

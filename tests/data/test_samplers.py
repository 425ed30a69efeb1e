"""The order of an epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import Balanced, DataLoader, LengthGrouped, TokenWindows

seeds = st.integers(0, 99)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), seeds)
def test_balanced_draws_every_class_and_within_it_every_example_equally_often(labels, seed):
    order = Balanced(labels).order(np.random.default_rng(seed))
    labels = np.array(labels)
    largest = max(np.bincount(labels))
    drawn = np.bincount(order, minlength=len(labels))
    for label in np.unique(labels):
        counts = drawn[labels == label]
        assert counts.sum() == largest
        assert counts.max() - counts.min() <= 1


@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 9), seeds)
def test_length_grouped_draws_every_example_once(lengths, size, seed):
    order = LengthGrouped(lengths, size).order(np.random.default_rng(seed))
    assert sorted(order) == list(range(len(lengths)))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 9), seeds)
def test_length_grouped_draws_what_its_sampler_draws(labels, size, seed):
    lengths = np.random.default_rng(seed).integers(1, 50, len(labels))
    grouped = LengthGrouped(lengths, size, Balanced(labels))
    balanced = Balanced(labels).order(np.random.default_rng(seed))
    assert sorted(grouped.order(np.random.default_rng(seed))) == sorted(balanced)
    assert repr(grouped) != repr(LengthGrouped(lengths, size))


@given(seeds)
def test_length_grouped_pads_less_than_half_of_what_a_shuffle_pads(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 50, 300)

    def padding(order):
        batches = lengths[order].reshape(-1, 4)
        return (batches.max(axis=1, keepdims=True) - batches).sum()

    grouped = LengthGrouped(lengths, 4).order(rng)
    assert padding(grouped) < 0.5 * padding(rng.permutation(300))


def test_a_loader_with_a_sampler_resumes_where_it_stood():
    windows = TokenWindows(np.arange(60), 4)
    labels = np.arange(len(windows)) % 3 == 0

    def loader(labels=labels):
        return DataLoader(windows, 2, seed=3, sampler=Balanced(labels.astype(int)))

    whole = loader().forever()
    expected = [next(whole)[0] for _ in range(25)]
    first = loader()
    batches = first.forever()
    for _ in range(13):
        next(batches)
    second = loader()
    second.load_state_dict(first.state_dict())
    rest = second.forever()
    for batch in expected[13:]:
        np.testing.assert_array_equal(next(rest)[0], batch)
    with pytest.raises(ValueError, match="the saved position is for sampler Balanced"):
        loader(~labels).load_state_dict(first.state_dict())


def test_an_epoch_of_a_sampler_that_repeats_examples_has_them_all():
    windows = TokenWindows(np.arange(42), 4)
    labels = np.array([0] * 8 + [1, 1])
    loader = DataLoader(windows, 3, sampler=Balanced(labels))
    batches = [inputs for inputs, _ in loader]
    assert [len(inputs) for inputs in batches] == [3, 3, 3, 3, 3, 1]
    rare = sum(labels[inputs[:, 0] // 4].sum() for inputs in batches)
    assert rare == 8

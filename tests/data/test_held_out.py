"""Batches for evaluation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import HeldOutBatches, TokenWindows


def windows(count):
    return TokenWindows(np.arange(count + 1), 1)


@given(st.integers(1, 40), st.integers(1, 6))
def test_all_windows_come_in_order_every_time(count, batch_size):
    batches = HeldOutBatches(windows(count), batch_size)
    for _ in range(2):
        seen = [inputs[:, 0] for inputs, _ in batches]
        assert len(seen) == len(batches)
        np.testing.assert_array_equal(np.concatenate(seen), np.arange(count))


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 10))
def test_a_limited_number_of_batches_is_spread_evenly(count, batch_size, max_batches):
    batches = HeldOutBatches(windows(count), batch_size, max_batches)
    assert len(batches) <= max_batches
    seen = np.concatenate([inputs[:, 0] for inputs, _ in batches])
    assert len(seen) == min(count, batch_size * max_batches)
    gaps = np.diff([*seen, count])
    assert seen[0] == 0
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("batch_size", "max_batches"), [(0, 0), (-1, 0), (1, -1)])
def test_numbers_out_of_range_are_refused(batch_size, max_batches):
    with pytest.raises(ValueError, match="must be at least"):
        HeldOutBatches(windows(5), batch_size, max_batches)

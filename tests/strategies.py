"""Shapes and values that Hypothesis draws, and comparisons of arrays."""

import numpy as np
from hypothesis import strategies as st

from npgpt import ops
from npgpt.ops import DropoutKey
from npgpt.testing import shapes
from npgpt.testing.checks import METHODS

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}

backends = st.sampled_from(ops.BACKENDS)
methods = st.sampled_from(METHODS)
seeds = st.integers(0, 2**32 - 1)
keys = st.builds(
    DropoutKey, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)
)
probabilities = st.sampled_from([0.0, 0.1, 0.5, 0.9])
batches = st.integers(1, 3)
times = st.integers(1, 9)
widths = st.integers(1, 13)  # odd sizes, one, and numbers that are no multiple of 4


def row_shapes():
    """Shapes of rows of features: (batch, time, width) or (rows, width)."""
    return widths.flatmap(lambda width: shapes(width, max_axes=2))


@st.composite
def head_shapes(draw):
    """Shapes of queries, keys and values: (batch, heads, time, head_size)."""
    return draw(batches), draw(st.integers(1, 3)), draw(times), draw(st.integers(1, 9))


def normal(seed, shape, dtype, scale=1.0):
    """Draw an array of a dtype."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def assert_close(actual, expected, tolerance, what=""):
    """Compare two arrays, relative to the largest magnitude of the expected one (at least 1).

    Where one is infinite, so must the other be.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shapes {actual.shape} and {expected.shape}"
    infinite = np.isinf(expected)
    assert (actual[infinite] == expected[infinite]).all(), f"{what}: infinite in one place only"
    actual, expected = (np.where(infinite, 0.0, array) for array in (actual, expected))
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    error = float(np.max(np.abs(actual - expected), initial=0.0)) / scale
    assert error <= tolerance, f"{what}: relative error {error:.1e} above {tolerance:.0e}"

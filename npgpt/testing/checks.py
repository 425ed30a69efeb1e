"""Gradients compared in one line, and strategies of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from npgpt.gradients import gradcheck
from npgpt.layers import Layer

METHODS = ("central", "complex")
dtypes = st.sampled_from([np.float32, np.float64])  #: the dtypes that every layer works in


def assert_gradients_correct(
    layer: Layer | Callable[..., Any],
    *inputs: Any,
    methods: Sequence[str] = METHODS,
    **options: Any,
) -> None:
    """Fail a test if backward is not the derivative of forward.

    Parameters
    ----------
    layer, *inputs
        As for `npgpt.gradcheck`.
    methods : sequence of {"central", "complex"}
        Complex steps need operations that accept complex numbers; leave them out where yours do
        not.
    **options
        Others of `npgpt.gradcheck`.

    Raises
    ------
    GradcheckError
        An AssertionError with the table of all arrays.

    Examples
    --------
    >>> assert_gradients_correct(np.sin, np.arange(3.0), backward=lambda dy, x: dy * np.cos(x))
    """
    for method in methods:
        gradcheck(layer, *inputs, method=method, **options).raise_if_failed()


def shapes(
    *last: int, min_axes: int = 1, max_axes: int = 3, max_side: int = 5
) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw shapes whose last axes are given, such as ``shapes(d_model)`` for (..., d_model).

    Parameters
    ----------
    *last : int
        Sizes of the last axes.
    min_axes, max_axes : int
        How many axes are drawn before those.
    max_side : int
        Largest size of a drawn axis; the smallest is 1.

    Examples
    --------
    >>> shapes(8, min_axes=2, max_axes=2).example()  # doctest: +SKIP
    (1, 3, 8)
    """
    sides = st.lists(st.integers(1, max_side), min_size=min_axes, max_size=max_axes)
    return sides.map(lambda drawn: (*drawn, *last))


@st.composite
def arrays(
    draw,
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]],
    dtype: Any = np.float64,
    scale: float = 1.0,
) -> np.ndarray:
    """Draw arrays of normally distributed numbers.

    A draw is a shape, a dtype and a seed, so it is fast for any size, and Hypothesis shrinks the
    shape and names the seed.

    Parameters
    ----------
    shape : tuple of int, or a strategy
    dtype : dtype, or a strategy
    scale : float
        Standard deviation.
    """
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    dtype = draw(dtype) if isinstance(dtype, st.SearchStrategy) else dtype
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (scale * rng.standard_normal(shape)).astype(dtype)

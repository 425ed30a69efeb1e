"""Where new layers get their numbers."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import numpy as np

_uninitialized = contextvars.ContextVar("uninitialized", default=False)


@contextlib.contextmanager
def uninitialized() -> Iterator[None]:
    """Inside ``with``, new layers have parameters with undefined content, made at no cost.

    For a model whose weights come from a file.
    """
    token = _uninitialized.set(True)
    try:
        yield
    finally:
        _uninitialized.reset(token)


def is_uninitialized() -> bool:
    """Tell whether parameters that are made now have undefined content."""
    return _uninitialized.get()


def normal(rng: np.random.Generator | int | None, shape, std: float, dtype) -> np.ndarray:
    """Draw from the normal distribution with mean 0; the same numbers for every dtype."""
    if is_uninitialized():
        return np.empty(shape, dtype)
    return (np.random.default_rng(rng).standard_normal(shape) * std).astype(dtype)

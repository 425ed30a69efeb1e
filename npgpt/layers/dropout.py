"""Dropout."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

from npgpt import ops
from npgpt.layers.core.layer import Layer, does_as
from npgpt.ops.array import Array


class Drawn(NamedTuple):
    """What `Dropout` keeps: the probability and key of its mask, and the mask's shape."""

    p: float
    key: ops.DropoutKey | None
    shape: tuple[int, ...]


class Dropout(Layer):
    """Zero each element with probability ``p`` while training, and scale the rest by 1/(1-p).

    (Srivastava et al. 2014, JMLR 15, in its inverted form: evaluation is the identity.) The mask
    is a function of (seed, stream, step) and the element's place, so it is never stored: backward
    draws it again, and a run that resumes at the same step draws the same masks.

    Parameters
    ----------
    p : float
        In [0, 1).
    seed : int
        The model's seed.
    stream : int
        Tells the dropout layers of one model apart.

    Attributes
    ----------
    step : int
        Number of masks drawn; each training forward pass takes the next one.

    Raises
    ------
    ValueError
        If ``p`` is outside [0, 1).
    """

    CHANGES = ("step",)
    IN_STEPS = True

    def __init__(self, p: float = 0.0, seed: int = 0, stream: int = 0):
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"Dropout: p must be at least 0 and below 1, got {p}.")
        self.p, self.seed, self.stream = p, seed, stream
        self.step = 0

    def active_p(self) -> float:
        """The probability in force: 0 in evaluation."""
        return self.p if self.training else 0.0

    def next_key(self) -> ops.DropoutKey:
        """Name the next mask, and move on."""
        key = ops.DropoutKey(self.seed, self.stream, self.step)
        self.step += 1
        return key

    def forward(self, x: Array) -> Array:
        """Drop elements of (..., columns); the identity in evaluation or with ``p = 0``."""
        self._check_array(x)
        p = self.active_p()
        key = self.next_key() if p > 0.0 else None
        self.keep(Drawn(p, key, x.shape))
        return ops.dropout_forward(x, p, key) if key else x

    def forward_add(self, x: Array, branch: Array) -> Array:
        """Compute ``x + dropout(branch)`` in one pass; `backward` gives the branch's gradient.

        Parameters
        ----------
        x, branch : ndarray, of one shape
        """
        p = self.active_p()
        key = self.next_key() if p > 0.0 else None
        self.keep(Drawn(p, key, branch.shape))
        return ops.dropout_add_forward(x, branch, p, key)

    def backward(self, dy: Array) -> Array:
        """Return the gradient of ``x``: ``dy`` under the same mask."""
        p, key, shape = self.recall()
        self._check_dy(dy, shape)
        return ops.dropout_backward(dy, p, key) if key else dy


def add_dropped(dropout: Layer, x: Array, branch: Array) -> Array:
    """Compute ``x + dropout(branch)``, in one pass where the layer is a `Dropout`.

    Parameters
    ----------
    dropout : Layer
        Whose ``backward`` gives the branch's gradient afterwards.
    x, branch : ndarray, of one shape
    """
    if is_plain(dropout):
        return dropout.forward_add(x, branch)
    return ops.add(x, dropout.forward(branch))


def is_plain(layer: Layer) -> TypeGuard[Dropout]:
    """Whether a layer computes what `Dropout` does, so that a fused operation may do it."""
    return does_as(layer, Dropout)

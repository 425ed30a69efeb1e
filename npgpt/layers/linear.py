"""The affine map."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np

from npgpt import ops
from npgpt.layers.core.init import Unfilled, normal
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.ops.array import Array

L = TypeVar("L", bound="Linear")


class Affine(NamedTuple):
    """What `Linear` keeps: its input, and the bias that forward added."""

    x: Array
    bias: Parameter | None


class Linear(Layer):
    """Affine map of the last axis: ``y = x W^T + b``.

    Parameters
    ----------
    d_in, d_out : int
    bias : bool
    std : float
        Standard deviation of the normal distribution that ``weight`` starts from; 0.02 is GPT-2's
        (Radford et al. 2019). The bias starts at 0.
    rng : numpy.random.Generator or int, optional
        Source of the initial weights.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (d_out, d_in)
    bias : Parameter, shape (d_out,), or None

    Notes
    -----
    Backward: ``dW += dy^T x``, ``db += sum of dy over rows``, ``dx = dy W``.
    """

    IN_STEPS = True

    def __init__(
        self,
        d_in: int,
        d_out: int,
        bias: bool = True,
        std: float = 0.02,
        rng: np.random.Generator | Unfilled | int | None = None,
        dtype: Any = np.float32,
    ):
        super().__init__()
        weight = Parameter(normal(rng, (d_out, d_in), std, dtype))
        self._hold(weight, Parameter(np.zeros(d_out, dtype)) if bias else None)

    @classmethod
    def of_parameters(cls: type[L], weight: Parameter, bias: Parameter | None = None) -> L:
        """Make a map of parameters that are there already, which it shares.

        Parameters
        ----------
        weight : Parameter, shape (d_out, d_in)
        bias : Parameter, shape (d_out,), optional
        """
        layer = cls.__new__(cls)
        Layer.__init__(layer)
        layer._hold(weight, bias)
        return layer

    def _hold(self, weight: Parameter, bias: Parameter | None) -> None:
        self.d_out, self.d_in = weight.shape
        self.weight, self.bias = weight, bias

    def forward(self, x: Array) -> Array:
        """Map (..., d_in) to (..., d_out)."""
        return self._map(x, self.bias)

    def product(self, x: Array) -> Array:
        """Compute ``x W^T`` for a layer that adds the bias itself, and its gradient too."""
        return self._map(x, None)

    def _map(self, x: Array, bias: Parameter | None) -> Array:
        self._check_last_axis(x, self.d_in, "d_in")
        self.keep(Affine(x, bias))
        return ops.linear_forward(x, self.weight.value, bias.value if bias else None)

    def backward(self, dy: Array) -> Array:
        """Add to the gradients of what forward, or `product`, used; return that of ``x``."""
        return self._map_backward(dy, self.recall())

    def _map_backward(self, dy: Array, kept: Affine) -> Array:
        self._check_dy(dy, (*kept.x.shape[:-1], self.d_out))
        dweight, overwrite = self.weight.grad_to_fill()
        dbias = kept.bias.grad if kept.bias else None
        return ops.linear_backward(
            dy, kept.x, self.weight.value, dweight=dweight, dbias=dbias, overwrite=overwrite
        )

"""Convolution over time, and the gated linear unit over it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.fields import check_whole
from npgpt.layers.activations import GLU
from npgpt.layers.core.init import Rng, uniform
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter


class CausalConv1d(Layer):
    """Convolution over time in which no position sees a later one.

    ``y_t = b + sum_j W_j x_s`` with ``s = t - (kernel - 1 - j) dilation``, and zeros before the
    first position (van den Oord et al. 2016, arXiv 1609.03499). A layer sees
    ``1 + (kernel - 1) dilation`` positions; several on each other see the sum of what each adds.

    Parameters
    ----------
    d_in, d_out : int
    kernel : int
        Positions that one output reads.
    dilation : int
        Distance between them.
    bias : bool
    rng : numpy.random.Generator or int, optional
        Source of the initial weights: even between ``-1/sqrt(d_in * kernel)`` and its opposite,
        as ``torch.nn.Conv1d`` has them. The bias starts at 0.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (d_out, d_in, kernel)
    bias : Parameter, shape (d_out,), or None

    Raises
    ------
    ValueError
        If ``kernel`` or ``dilation`` is below 1.
    """

    IN_STEPS = True  # with the inputs that it reads kept

    def __init__(
        self,
        d_in: int,
        d_out: int,
        kernel: int = 3,
        dilation: int = 1,
        bias: bool = True,
        rng: Rng = None,
        dtype: Any = np.float32,
    ):
        super().__init__()
        check_whole("CausalConv1d", 1, d_in=d_in, d_out=d_out, kernel=kernel, dilation=dilation)
        self.d_in, self.d_out, self.kernel, self.dilation = d_in, d_out, kernel, dilation
        most = 1.0 / math.sqrt(d_in * kernel)
        self.weight = Parameter(uniform(rng, (d_out, d_in, kernel), most, dtype))
        self.bias = Parameter(np.zeros(d_out, dtype)) if bias else None

    @property
    def receptive_field(self) -> int:
        """How many positions, itself and those before it, decide an output."""
        return 1 + (self.kernel - 1) * self.dilation

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Map (batch, time, d_in) to (batch, time, d_out)."""
        self._check_array(x)
        if x.ndim != 3 or x.shape[-1] != self.d_in:
            raise ValueError(
                f"{self._where()}: expected an input of shape (batch, time, {self.d_in}), "
                f"got {x.shape}."
            )
        self.keep(x)
        bias = self.bias.value if self.bias else None
        return ops.causal_conv1d_forward(x, self.weight.value, bias, dilation=self.dilation)

    def forward_last(self, read: np.ndarray) -> np.ndarray:
        """Compute the last position only, of the inputs that it reads.

        Parameters
        ----------
        read : ndarray, shape (batch, kernel, d_in)
            ``x_s`` of each ``j``, so its own is the last.

        Returns
        -------
        ndarray, shape (batch, 1, d_out)
        """
        rows = read.swapaxes(1, 2).reshape(len(read), 1, -1)  # in the weight's order
        bias = self.bias.value if self.bias else None
        return ops.linear_forward(rows, self.weight.value.reshape(self.d_out, -1), bias)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Add to the gradients of weight and bias; return that of ``x``, (batch, time, d_in)."""
        x = self.recall()
        self._check_dy(dy, (*x.shape[:2], self.d_out))
        return ops.causal_conv1d_backward(
            dy, x, self.weight.value, dilation=self.dilation,
            dweight=self.weight.grad, dbias=self.bias.grad if self.bias else None,
        )  # fmt: skip


class GatedConv1d(Layer):
    """A gated linear unit over a causal convolution (Dauphin et al. 2017, arXiv 1612.08083, eq. 1).

    ``y = value * sigmoid(gate)``, where ``value`` and ``gate`` are two causal convolutions of
    ``x``: the gates say what goes on, and the values go on without a slope that is below 1.

    Parameters
    ----------
    d_in, d_out, kernel, dilation, bias, rng, dtype
        As of `CausalConv1d`.

    Notes
    -----
    Taps, each (batch, time, d_out): ``value``, ``gate`` (before its sigmoid) and ``output``.
    """

    IN_STEPS = True
    TAPS = ("value", "gate", "output")

    def __init__(
        self,
        d_in: int,
        d_out: int,
        kernel: int = 3,
        dilation: int = 1,
        bias: bool = True,
        rng: Rng = None,
        dtype: Any = np.float32,
    ):
        super().__init__()
        check_whole("GatedConv1d", 1, d_out=d_out)
        self.conv = CausalConv1d(d_in, 2 * d_out, kernel, dilation, bias, rng, dtype)
        self.glu = GLU()

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Map (batch, time, d_in) to (batch, time, d_out)."""
        return self._through_gates(self.conv.forward(x))

    def forward_last(self, read: np.ndarray) -> np.ndarray:
        """Compute the last position only, (batch, 1, d_out), as `CausalConv1d.forward_last` does.

        Parameters
        ----------
        read : ndarray, shape (batch, kernel, d_in)
        """
        return self._through_gates(self.conv.forward_last(read))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Add to the gradients of the convolution; return that of ``x``, (batch, time, d_in)."""
        dgates = self.glu.backward(self.tap_grad("output", dy))
        return self.conv.backward(self._halves(dgates, self.tap_grad))

    def _through_gates(self, gates: np.ndarray) -> np.ndarray:
        return self.tap("output", self.glu.forward(self._halves(gates, self.tap)))

    def _halves(
        self, gates: np.ndarray, tap: Callable[[str, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Show values and gates to who listens to them."""
        if not self.is_listened_to("value", "gate"):
            return gates
        value, gate = np.split(gates, 2, axis=-1)
        return np.concatenate([tap("value", value), tap("gate", gate)], axis=-1)

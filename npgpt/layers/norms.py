"""Norms, and the table of those that a block may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npgpt import ops
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.ops.array import Array


class OfRows(NamedTuple):
    """What `LayerNorm` keeps: its input, and each row's mean and ``1 / sqrt(var + eps)``."""

    x: Array
    mean: Array
    rstd: Array


class LayerNorm(Layer):
    """Normalise each position to mean 0 and variance 1, then scale by gamma and shift by beta.

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, over the last axis (Ba, Kiros and Hinton
    2016, arXiv 1607.06450, eq. 4).

    Parameters
    ----------
    d_model : int
    eps : float
    bias : bool
        Whether there is a ``beta``.
    dtype : dtype

    Attributes
    ----------
    gamma : Parameter, shape (d_model,), starting at 1
    beta : Parameter, shape (d_model,), starting at 0, or None

    Notes
    -----
    Tap: ``output``.
    """

    TAPS = ("output",)
    IN_STEPS = True

    def __init__(self, d_model: int, eps: float = 1e-5, bias: bool = True, dtype: Any = np.float32):
        super().__init__()
        self.d_model, self.eps = d_model, eps
        self.gamma = Parameter(np.ones(d_model, dtype))
        self.beta = Parameter(np.zeros(d_model, dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Normalise (..., d_model)."""
        self._check_last_axis(x, self.d_model, "d_model")
        beta = self.beta.value if self.beta else None
        y, mean, rstd = ops.layer_norm_forward(x, self.gamma.value, beta, self.eps)
        self.keep(OfRows(x, mean, rstd))
        return self.tap("output", y)

    def backward(self, dy: Array, dshortcut: Array | None = None) -> Array:
        """Add to the gradients of gamma and beta; return that of ``x``, (..., d_model).

        Parameters
        ----------
        dy : ndarray, shape (..., d_model)
        dshortcut : ndarray, shape (..., d_model), optional
            A gradient that reaches ``x`` round the norm, added to the result on the way.
        """
        x, mean, rstd = self.recall()
        self._check_dy(dy, x.shape)
        dy = self.tap_grad("output", dy)
        dbeta = self.beta.grad if self.beta else None
        gamma = self.gamma
        return ops.layer_norm_backward(
            dy, x, gamma.value, mean, rstd, dgamma=gamma.grad, dbeta=dbeta, dshortcut=dshortcut
        )


class OfRowSizes(NamedTuple):
    """What `RMSNorm` keeps: its input, and each row's ``1 / sqrt(mean(x^2) + eps)``."""

    x: Array
    rstd: Array


class RMSNorm(Layer):
    """Divide each position by its root mean square, then scale by gamma.

    ``y = gamma * x / sqrt(mean(x^2) + eps)``, over the last axis (Zhang and Sennrich 2019, arXiv
    1910.07467, eq. 4): layer normalisation without the mean and without a shift.

    Parameters
    ----------
    d_model : int
    eps : float
    dtype : dtype

    Attributes
    ----------
    gamma : Parameter, shape (d_model,), starting at 1

    Notes
    -----
    Tap: ``output``.
    """

    TAPS = ("output",)
    IN_STEPS = True

    def __init__(self, d_model: int, eps: float = 1e-5, dtype: Any = np.float32):
        super().__init__()
        self.d_model, self.eps = d_model, eps
        self.gamma = Parameter(np.ones(d_model, dtype))

    def forward(self, x: Array) -> Array:
        """Normalise (..., d_model)."""
        self._check_last_axis(x, self.d_model, "d_model")
        y, rstd = ops.rms_norm_forward(x, self.gamma.value, self.eps)
        self.keep(OfRowSizes(x, rstd))
        return self.tap("output", y)

    def backward(self, dy: Array, dshortcut: Array | None = None) -> Array:
        """Add to the gradient of gamma; return that of ``x``, (..., d_model).

        Parameters
        ----------
        dy, dshortcut
            As for `LayerNorm.backward`.
        """
        x, rstd = self.recall()
        self._check_dy(dy, x.shape)
        dy = self.tap_grad("output", dy)
        return ops.rms_norm_backward(
            dy, x, self.gamma.value, rstd, dgamma=self.gamma.grad, dshortcut=dshortcut
        )


class OfFeatures(NamedTuple):
    """What `BatchNorm` keeps of a training pass: its input, and each feature's statistics."""

    x: Array
    mean: Array
    variance: Array


class OfRunning(NamedTuple):
    """What `BatchNorm` keeps of a pass in evaluation."""

    x: Array


class BatchNorm(Layer):
    """Normalise each feature over the whole batch (Ioffe and Szegedy 2015, arXiv 1502.03167).

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, mean and variance of each feature over all
    rows while training, and running means of them in evaluation. Over sequences the rows are all
    positions of all examples: a position's output depends on later positions and on other texts,
    which a model that predicts the next token must not see. That, and small or uneven batches, is
    why sequences are normalised with `LayerNorm` or `RMSNorm` instead.

    Parameters
    ----------
    d_model : int
    eps : float
    momentum : float
        Share of a batch's statistics in the running ones.
    dtype : dtype

    Attributes
    ----------
    gamma : Parameter, shape (d_model,), starting at 1
    beta : Parameter, shape (d_model,), starting at 0
    running_mean, running_variance : ndarray, shape (d_model,)
        Starting at 0 and 1; the variance is the unbiased one. They are no parameters, so
        `state_dict` has them not.
    """

    BUFFERS = CHANGES = ("running_mean", "running_variance")

    def __init__(
        self, d_model: int, eps: float = 1e-5, momentum: float = 0.1, dtype: Any = np.float32
    ):
        super().__init__()
        self.d_model, self.eps, self.momentum = d_model, eps, momentum
        self.gamma = Parameter(np.ones(d_model, dtype))
        self.beta = Parameter(np.zeros(d_model, dtype))
        self.running_mean = np.zeros(d_model)
        self.running_variance = np.ones(d_model)

    def forward(self, x: Array) -> Array:
        """Normalise (..., d_model).

        Raises
        ------
        ValueError
            If there is only one row while training: its variance would be 0.
        """
        self._check_last_axis(x, self.d_model, "d_model")
        if not self.training:
            return self._forward_running(x)
        rows = x.size // self.d_model
        if rows < 2:
            raise ValueError(
                f"{self._where()}: statistics over rows need more than one row, got {x.shape}."
            )
        y, mean, variance = ops.batch_norm_forward(x, self.gamma.value, self.beta.value, self.eps)
        self._keep_running(mean.real, variance.real * (rows / (rows - 1)))
        self.keep(OfFeatures(x, mean, variance))
        return y

    def backward(self, dy: Array) -> Array:
        """Add to the gradients of gamma and beta; return that of ``x``, (..., d_model)."""
        kept = self.recall()
        self._check_dy(dy, kept.x.shape)
        if isinstance(kept, OfRunning):
            return self._backward_running(dy, kept.x)
        x, mean, variance = kept
        gamma, beta = self.gamma, self.beta
        return ops.batch_norm_backward(
            dy, x, gamma.value, self.eps, mean, variance, dgamma=gamma.grad, dbeta=beta.grad
        )

    # --- evaluation: the statistics are constants -------------------------------------------------

    def _forward_running(self, x: Array) -> Array:
        self.keep(OfRunning(x))
        x_hat, _ = self._normalised(x)
        return self.gamma.value * x_hat + self.beta.value

    def _backward_running(self, dy: Array, x: Array) -> Array:
        rows = tuple(range(dy.ndim - 1))
        x_hat, rstd = self._normalised(x)
        dgamma, dbeta = self.gamma.grad, self.beta.grad
        if dgamma is not None:
            dgamma += (dy * x_hat).sum(axis=rows)
        if dbeta is not None:
            dbeta += dy.sum(axis=rows)
        return dy * self.gamma.value * rstd

    def _normalised(self, x: Array) -> tuple[Array, Array]:
        rstd = (1.0 / np.sqrt(self.running_variance + self.eps)).astype(x.real.dtype)
        return (x - self.running_mean.astype(x.real.dtype)) * rstd, rstd

    def _keep_running(self, mean: Array, variance: Array) -> None:
        share = self.momentum
        self.running_mean = (1.0 - share) * self.running_mean + share * mean
        self.running_variance = (1.0 - share) * self.running_variance + share * variance


class NoNorm(Layer):
    """The identity, ``y = x``, with the arguments of a norm.

    It stands where a block or a model would have a norm: in models without any, and at the end of
    post-norm models, whose last block ends with a norm already.

    Notes
    -----
    Tap: ``output``.
    """

    TAPS = ("output",)
    IN_STEPS = True

    def forward(self, x: Array) -> Array:
        """Return ``x``."""
        self._check_array(x)
        self.keep(x.shape)
        return self.tap("output", x)

    def backward(self, dy: Array, dshortcut: Array | None = None) -> Array:
        """Return ``dy``, plus the gradient that comes round the norm if there is one.

        Parameters
        ----------
        dy, dshortcut
            As for `LayerNorm.backward`.
        """
        shape = self.recall()
        self._check_dy(dy, shape)
        dy = self.tap_grad("output", dy)
        return dy if dshortcut is None else ops.add(dshortcut, dy)


# name -> function of (d_model, eps, bias, dtype); what is added here a config may choose
NORMS: dict[str, Callable[[int, float, bool, Any], Layer]] = {
    "layer": LayerNorm,
    "rms": lambda d_model, eps, bias, dtype: RMSNorm(d_model, eps, dtype),
    "none": lambda d_model, eps, bias, dtype: NoNorm(),
}


def norm_backward(norm: Layer, dy: Array, dshortcut: Array | None) -> Array:
    """Send a gradient back through a norm, and add the one that goes round it.

    Parameters
    ----------
    norm : Layer
        One whose backward takes ``dshortcut`` adds it in its own pass.
    dy : ndarray, shape (..., d_model)
    dshortcut : ndarray, shape (..., d_model), or None
    """
    if norm.adds_shortcut:
        return norm.backward(dy, dshortcut=dshortcut)
    dx = norm.backward(dy)
    return dx if dshortcut is None else ops.add(dshortcut, dx)

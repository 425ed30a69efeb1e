"""Layer normalisation, each row read while it is in cache."""

import math

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import (
    as_rows,
    compiled_form_of,
    kernel,
    parallel_kernel,
    partial_sums,
)
from npgpt.ops.workspace import empty

__all__ = ["layer_norm_backward", "layer_norm_forward"]


@kernel()
def _forward_row(x: Array, gamma: Array, beta: Array, eps: float, y: Array) -> tuple[float, float]:
    """Normalise one row; returns its mean and rstd."""
    total = x.dtype.type(0.0)
    for j in range(x.size):
        total += x[j]
    mean = total / x.dtype.type(x.size)
    squares = x.dtype.type(0.0)
    for j in range(x.size):
        squares += (x[j] - mean) * (x[j] - mean)
    rstd = x.dtype.type(1.0 / math.sqrt(squares / x.size + eps))
    for j in range(x.size):
        y[j] = gamma[j] * ((x[j] - mean) * rstd) + beta[j]
    return mean, rstd


@kernel()
def _backward_row(
    dy: Array, x: Array, gamma: Array, mean: float, rstd: float, dshortcut: Array, dx: Array,
    dgamma: Array, dbeta: Array,
) -> None:  # fmt: skip
    sum_dx_hat = x.dtype.type(0.0)
    sum_dx_hat_x_hat = x.dtype.type(0.0)
    for j in range(x.size):
        x_hat = (x[j] - mean) * rstd
        dx_hat = gamma[j] * dy[j]
        sum_dx_hat += dx_hat
        sum_dx_hat_x_hat += dx_hat * x_hat
    mean_dx_hat = sum_dx_hat / x.dtype.type(x.size)
    mean_dx_hat_x_hat = sum_dx_hat_x_hat / x.dtype.type(x.size)
    for j in range(x.size):
        x_hat = (x[j] - mean) * rstd
        dgamma[j] += dy[j] * x_hat
        dbeta[j] += dy[j]
        # the three terms of the reference: direct, through the mean, through the variance
        dx[j] = rstd * (gamma[j] * dy[j] - mean_dx_hat - x_hat * mean_dx_hat_x_hat)
    for j in range(dshortcut.size):  # 0 if there is none
        dx[j] += dshortcut[j]


@parallel_kernel()
def _forward(
    x: Array, gamma: Array, beta: Array, eps: float, y: Array, mean: Array, rstd: Array
) -> None:
    for i in prange(x.shape[0]):
        mean[i], rstd[i] = _forward_row(x[i], gamma, beta, eps, y[i])


@parallel_kernel()
def _backward(
    dy: Array, x: Array, gamma: Array, mean: Array, rstd: Array, dshortcut: Array, dx: Array,
    dgamma_parts: Array, dbeta_parts: Array,
) -> None:  # fmt: skip
    rows, chunks = x.shape[0], dgamma_parts.shape[0]
    for chunk in prange(chunks):
        dgamma, dbeta = dgamma_parts[chunk], dbeta_parts[chunk]
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            shortcut = dshortcut[i % dshortcut.shape[0]]
            _backward_row(dy[i], x[i], gamma, mean[i], rstd[i], shortcut, dx[i], dgamma, dbeta)


@compiled_form_of(reference.layer_norm_forward)
def layer_norm_forward(  # noqa: D103
    x: Array, gamma: Array, beta: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    rows = as_rows(x)
    y = empty(rows.shape, rows.dtype)
    mean = empty((*x.shape[:-1], 1), x.dtype)
    rstd = empty(mean.shape, mean.dtype)
    shift = np.zeros_like(gamma) if beta is None else beta
    _forward(rows, gamma, shift, eps, y, mean.reshape(-1), rstd.reshape(-1))
    return y.reshape(x.shape), mean, rstd


@compiled_form_of(reference.layer_norm_backward)
def layer_norm_backward(  # noqa: D103
    dy: Array, x: Array, gamma: Array, mean: Array, rstd: Array, *, dgamma: Array | None = None,
    dbeta: Array | None = None, dshortcut: Array | None = None,
) -> Array:  # fmt: skip
    dx = empty(x.shape, x.dtype)
    dgamma_parts = partial_sums(x.shape[-1], x.dtype)
    dbeta_parts = np.zeros_like(dgamma_parts)
    _backward(
        as_rows(dy),
        as_rows(x),
        gamma,
        mean.reshape(-1),
        rstd.reshape(-1),
        np.empty((1, 0), x.dtype) if dshortcut is None else as_rows(dshortcut),
        as_rows(dx),
        dgamma_parts,
        dbeta_parts,
    )
    if dgamma is not None:
        dgamma += dgamma_parts.sum(axis=0)
    if dbeta is not None:
        dbeta += dbeta_parts.sum(axis=0)
    return dx

"""Root-mean-square normalisation, each row read while it is in cache."""

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

__all__ = ["rms_norm_backward", "rms_norm_forward"]


@kernel()
def _forward_row(x: Array, gamma: Array, eps: float, y: Array) -> float:
    """Normalise one row; returns its rstd."""
    squares = x.dtype.type(0.0)
    for j in range(x.size):
        squares += x[j] * x[j]
    rstd = x.dtype.type(1.0 / math.sqrt(squares / x.size + eps))
    for j in range(x.size):
        y[j] = gamma[j] * (x[j] * rstd)
    return rstd


@kernel()
def _backward_row(
    dy: Array, x: Array, gamma: Array, rstd: float, dshortcut: Array, dx: Array, dgamma: Array
) -> None:
    total = x.dtype.type(0.0)
    for j in range(x.size):
        total += gamma[j] * dy[j] * x[j]
    mean_dx_hat_x_hat = rstd * total / x.dtype.type(x.size)
    for j in range(x.size):
        x_hat = x[j] * rstd
        dgamma[j] += dy[j] * x_hat
        # the two terms of the reference: direct, through the root mean square
        dx[j] = rstd * (gamma[j] * dy[j] - x_hat * mean_dx_hat_x_hat)
    for j in range(dshortcut.size):  # 0 if there is none
        dx[j] += dshortcut[j]


@parallel_kernel()
def _forward(x: Array, gamma: Array, eps: float, y: Array, rstd: Array) -> None:
    for i in prange(x.shape[0]):
        rstd[i] = _forward_row(x[i], gamma, eps, y[i])


@parallel_kernel()
def _backward(
    dy: Array, x: Array, gamma: Array, rstd: Array, dshortcut: Array, dx: Array,
    dgamma_parts: Array,
) -> None:  # fmt: skip
    rows, chunks = x.shape[0], dgamma_parts.shape[0]
    for chunk in prange(chunks):
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            shortcut = dshortcut[i % dshortcut.shape[0]]
            _backward_row(dy[i], x[i], gamma, rstd[i], shortcut, dx[i], dgamma_parts[chunk])


@compiled_form_of(reference.rms_norm_forward)
def rms_norm_forward(x: Array, gamma: Array, eps: float) -> tuple[Array, Array]:  # noqa: D103
    y = empty(x.shape, x.dtype)
    rstd = empty((*x.shape[:-1], 1), x.dtype)
    _forward(as_rows(x), gamma, eps, as_rows(y), rstd.reshape(-1))
    return y, rstd


@compiled_form_of(reference.rms_norm_backward)
def rms_norm_backward(  # noqa: D103
    dy: Array, x: Array, gamma: Array, rstd: Array, *, dgamma: Array | None = None,
    dshortcut: Array | None = None,
) -> Array:  # fmt: skip
    dx = empty(x.shape, x.dtype)
    parts = partial_sums(x.shape[-1], x.dtype)
    _backward(
        as_rows(dy),
        as_rows(x),
        gamma,
        rstd.reshape(-1),
        np.empty((1, 0), x.dtype) if dshortcut is None else as_rows(dshortcut),
        as_rows(dx),
        parts,
    )
    if dgamma is not None:
        dgamma += parts.sum(axis=0)
    return dx

"""Root-mean-square normalisation, each row read while it is in cache."""

import math

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, kernel, parallel_kernel
from npgpt.ops.workspace import empty

CHUNKS = 16  # partial sums of dgamma; fixed, so threads do not change the result


@kernel()
def _forward_row(x, gamma, eps, y):
    """Normalise one row; returns its rstd."""
    squares = x.dtype.type(0.0)
    for j in range(x.size):
        squares += x[j] * x[j]
    rstd = x.dtype.type(1.0 / math.sqrt(squares / x.size + eps))
    for j in range(x.size):
        y[j] = gamma[j] * (x[j] * rstd)
    return rstd


@kernel()
def _backward_row(dy, x, rstd, gamma, dshortcut, dx, dgamma):
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
def _forward(x, gamma, eps, y, rstd):
    for i in prange(x.shape[0]):
        rstd[i] = _forward_row(x[i], gamma, eps, y[i])


@parallel_kernel()
def _backward(dy, x, rstd, gamma, dshortcut, dx, dgamma_parts):
    rows, chunks = x.shape[0], dgamma_parts.shape[0]
    for chunk in prange(chunks):
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            shortcut = dshortcut[i % dshortcut.shape[0]]
            _backward_row(dy[i], x[i], rstd[i], gamma, shortcut, dx[i], dgamma_parts[chunk])


@compiled_form_of(reference.rms_norm_forward)
def rms_norm_forward(x, gamma, eps):  # noqa: D103
    y = empty(x.shape, x.dtype)
    rstd = empty((*x.shape[:-1], 1), x.dtype)
    _forward(as_rows(x), gamma, eps, as_rows(y), rstd.reshape(-1))
    return y, rstd


@compiled_form_of(reference.rms_norm_backward)
def rms_norm_backward(dy, x, rstd, gamma, dgamma, dshortcut=None):  # noqa: D103
    dx = empty(x.shape, x.dtype)
    parts = np.zeros((CHUNKS, x.shape[-1]), x.dtype)
    _backward(
        as_rows(dy),
        as_rows(x),
        rstd.reshape(-1),
        gamma,
        np.empty((1, 0), x.dtype) if dshortcut is None else as_rows(dshortcut),
        as_rows(dx),
        parts,
    )
    if dgamma is not None:
        dgamma += parts.sum(axis=0)
    return dx

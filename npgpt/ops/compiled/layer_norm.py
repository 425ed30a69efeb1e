"""Layer normalisation, each row read while it is in cache."""

import math

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.jit import as_rows, compiled_form_of, kernel, parallel_kernel
from npgpt.ops.workspace import empty

CHUNKS = 16  # partial sums of dgamma and dbeta; fixed, so threads do not change the result


@kernel()
def _forward_row(x, gamma, beta, eps, y):
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
def _backward_row(dy, x, mean, rstd, gamma, dshortcut, dx, dgamma, dbeta):
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
def _forward(x, gamma, beta, eps, y, mean, rstd):
    for i in prange(x.shape[0]):
        mean[i], rstd[i] = _forward_row(x[i], gamma, beta, eps, y[i])


@parallel_kernel()
def _backward(dy, x, mean, rstd, gamma, dshortcut, dx, dgamma_parts, dbeta_parts):
    rows, chunks = x.shape[0], dgamma_parts.shape[0]
    for chunk in prange(chunks):
        dgamma, dbeta = dgamma_parts[chunk], dbeta_parts[chunk]
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            shortcut = dshortcut[i % dshortcut.shape[0]]
            _backward_row(dy[i], x[i], mean[i], rstd[i], gamma, shortcut, dx[i], dgamma, dbeta)


@compiled_form_of(reference.layer_norm_forward)
def layer_norm_forward(x, gamma, beta, eps):  # noqa: D103
    rows = as_rows(x)
    y = empty(rows.shape, rows.dtype)
    mean = empty((*x.shape[:-1], 1), x.dtype)
    rstd = empty(mean.shape, mean.dtype)
    shift = np.zeros_like(gamma) if beta is None else beta
    _forward(rows, gamma, shift, eps, y, mean.reshape(-1), rstd.reshape(-1))
    return y.reshape(x.shape), mean, rstd


@compiled_form_of(reference.layer_norm_backward)
def layer_norm_backward(  # noqa: D103
    dy, x, mean, rstd, gamma, dgamma, dbeta, dshortcut=None
):
    dx = empty(x.shape, x.dtype)
    dgamma_parts = np.zeros((CHUNKS, x.shape[-1]), x.dtype)
    dbeta_parts = np.zeros_like(dgamma_parts)
    _backward(
        as_rows(dy),
        as_rows(x),
        mean.reshape(-1),
        rstd.reshape(-1),
        gamma,
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

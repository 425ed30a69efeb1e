"""ReLU, SiLU and gated linear units in one pass over memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import (
    as_rows,
    compiled_form_of,
    exp,
    inline_kernel,
    kernel,
    parallel_kernel,
    partial_sums,
)
from npgpt.ops.workspace import empty

__all__ = [
    "glu_backward",
    "glu_forward",
    "relu_backward",
    "relu_forward",
    "silu_backward",
    "silu_forward",
    "swiglu_backward",
    "swiglu_forward",
]


@inline_kernel()
def sigmoid(x: float) -> float:
    """``1 / (1 + exp(-x))``."""
    one = type(x)(1.0)
    return one / (one + exp(-x))


@inline_kernel()
def tanh(x: float) -> float:
    """Compute the tangent by the ``exp`` that vectorises: ``2 sigmoid(2 x) - 1``."""
    one, two = type(x)(1.0), type(x)(2.0)
    return two / (one + exp(-two * x)) - one


@parallel_kernel()
def _relu_forward(x: Array, bias: Array, y: Array) -> None:
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = max(x[i, j] + bias[j], x.dtype.type(0.0))


@kernel()
def _relu_backward_row(dy: Array, x: Array, bias: Array, dx: Array, dbias: Array) -> None:
    for j in range(x.size):
        dx[j] = dy[j] if x[j] + bias[j] > 0 else x.dtype.type(0.0)
    for j in range(x.size):
        dbias[j] += dx[j]


@parallel_kernel()
def _relu_backward(dy: Array, x: Array, bias: Array, dx: Array, dbias_parts: Array) -> None:
    rows, chunks = x.shape[0], dbias_parts.shape[0]
    for chunk in prange(chunks):
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            _relu_backward_row(dy[i], x[i], bias, dx[i], dbias_parts[chunk])


@parallel_kernel()
def _silu_forward(x: Array, bias: Array, y: Array) -> None:
    for i in prange(x.shape[0]):
        row, out = x[i], y[i]
        for j in range(out.size):
            h = row[j] + bias[j]
            out[j] = h * sigmoid(h)


@kernel()
def _silu_backward_row(dy: Array, x: Array, bias: Array, dx: Array, dbias: Array) -> None:
    one = x.dtype.type(1.0)
    for j in range(x.size):
        h = x[j] + bias[j]
        s = sigmoid(h)
        dx[j] = dy[j] * (s + h * s * (one - s))
    for j in range(x.size):
        dbias[j] += dx[j]


@parallel_kernel()
def _silu_backward(dy: Array, x: Array, bias: Array, dx: Array, dbias_parts: Array) -> None:
    rows, chunks = x.shape[0], dbias_parts.shape[0]
    for chunk in prange(chunks):
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            _silu_backward_row(dy[i], x[i], bias, dx[i], dbias_parts[chunk])


@parallel_kernel()
def _glu_forward(x: Array, bias: Array, y: Array) -> None:
    for i in prange(x.shape[0]):
        row, out = x[i], y[i]
        d_out = out.size
        for j in range(d_out):
            out[j] = (row[j] + bias[j]) * sigmoid(row[d_out + j] + bias[d_out + j])


@kernel()
def _glu_backward_row(dy: Array, x: Array, bias: Array, dx: Array, dbias: Array) -> None:
    d_out, one = dy.size, x.dtype.type(1.0)
    for j in range(d_out):
        value, gate = x[j] + bias[j], sigmoid(x[d_out + j] + bias[d_out + j])
        dx[j] = dy[j] * gate
        dx[d_out + j] = dy[j] * value * gate * (one - gate)
    for j in range(x.size):
        dbias[j] += dx[j]


@parallel_kernel()
def _glu_backward(dy: Array, x: Array, bias: Array, dx: Array, dbias_parts: Array) -> None:
    rows, chunks = x.shape[0], dbias_parts.shape[0]
    for chunk in prange(chunks):
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            _glu_backward_row(dy[i], x[i], bias, dx[i], dbias_parts[chunk])


@parallel_kernel()
def _swiglu_forward(x: Array, bias: Array, y: Array) -> None:
    for i in prange(x.shape[0]):
        row, out = x[i], y[i]
        d_ff = out.size
        for j in range(d_ff):
            gate = row[j] + bias[j]
            out[j] = gate * sigmoid(gate) * (row[d_ff + j] + bias[d_ff + j])


@kernel()
def _swiglu_backward_row(dy: Array, x: Array, bias: Array, dx: Array, dbias: Array) -> None:
    d_ff, one = dy.size, x.dtype.type(1.0)
    for j in range(d_ff):
        gate, up = x[j] + bias[j], x[d_ff + j] + bias[d_ff + j]
        s = sigmoid(gate)
        dx[d_ff + j] = dy[j] * gate * s
        dx[j] = dy[j] * up * (s + gate * s * (one - s))
    for j in range(x.size):
        dbias[j] += dx[j]


@parallel_kernel()
def _swiglu_backward(dy: Array, x: Array, bias: Array, dx: Array, dbias_parts: Array) -> None:
    rows, chunks = x.shape[0], dbias_parts.shape[0]
    for chunk in prange(chunks):
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            _swiglu_backward_row(dy[i], x[i], bias, dx[i], dbias_parts[chunk])


def _forward(run: Callable[..., Any], x: Array, bias: Array | None, width: int) -> Array:
    y = empty((*x.shape[:-1], width), x.dtype)
    run(as_rows(x), np.zeros(x.shape[-1], x.dtype) if bias is None else bias, as_rows(y))
    return y


def _backward(
    run: Callable[..., Any], dy: Array, x: Array, bias: Array | None, dbias: Array | None
) -> Array:
    dx = empty(x.shape, x.dtype)
    parts = partial_sums(x.shape[-1], x.dtype)
    shift = np.zeros(x.shape[-1], x.dtype) if bias is None else bias
    run(as_rows(dy), as_rows(x), shift, as_rows(dx), parts)
    if dbias is not None:
        dbias += parts.sum(axis=0)
    return dx


@compiled_form_of(reference.relu_forward)
def relu_forward(x: Array, bias: Array | None = None) -> Array:  # noqa: D103
    return _forward(_relu_forward, x, bias, x.shape[-1])


@compiled_form_of(reference.relu_backward)
def relu_backward(  # noqa: D103
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    return _backward(_relu_backward, dy, x, bias, dbias)


@compiled_form_of(reference.silu_forward)
def silu_forward(x: Array, bias: Array | None = None) -> Array:  # noqa: D103
    return _forward(_silu_forward, x, bias, x.shape[-1])


@compiled_form_of(reference.silu_backward)
def silu_backward(  # noqa: D103
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    return _backward(_silu_backward, dy, x, bias, dbias)


@compiled_form_of(reference.swiglu_forward)
def swiglu_forward(x: Array, bias: Array | None = None) -> Array:  # noqa: D103
    return _forward(_swiglu_forward, x, bias, x.shape[-1] // 2)


@compiled_form_of(reference.swiglu_backward)
def swiglu_backward(  # noqa: D103
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    return _backward(_swiglu_backward, dy, x, bias, dbias)


@compiled_form_of(reference.glu_forward)
def glu_forward(x: Array, bias: Array | None = None) -> Array:  # noqa: D103
    return _forward(_glu_forward, x, bias, x.shape[-1] // 2)


@compiled_form_of(reference.glu_backward)
def glu_backward(  # noqa: D103
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    return _backward(_glu_backward, dy, x, bias, dbias)

"""GELU in one pass over memory."""

import math

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
from npgpt.ops.reference.gelu import CUBIC, SQRT_2_OVER_PI
from npgpt.ops.workspace import empty

__all__ = ["gelu_exact_backward", "gelu_exact_forward", "gelu_tanh_backward", "gelu_tanh_forward"]

SQRT_HALF = math.sqrt(0.5)
INV_SQRT_2_PI = 1.0 / math.sqrt(2.0 * math.pi)


@inline_kernel()
def _tanh_gate(x: float) -> float:
    """``(1 + tanh u)/2 = 1/(1 + exp(-2u))``: one exponential."""
    one = type(x)(1.0)
    minus_two_root, cubic = type(x)(-2.0 * SQRT_2_OVER_PI), type(x)(CUBIC)
    return one / (one + exp(minus_two_root * (x + cubic * x * x * x)))


@inline_kernel()
def _tanh_value(x: float) -> float:
    return x * _tanh_gate(x)


@inline_kernel()
def _tanh_slope(x: float) -> float:
    one, root = type(x)(1.0), type(x)(2.0 * SQRT_2_OVER_PI)
    gate, cubic = _tanh_gate(x), type(x)(3.0 * CUBIC)
    return gate + x * gate * (one - gate) * root * (one + cubic * x * x)


@inline_kernel()
def _exact_gate(x: float) -> float:
    one, half, scale = type(x)(1.0), type(x)(0.5), type(x)(SQRT_HALF)
    return half * (one + math.erf(scale * x))


@inline_kernel()
def _exact_value(x: float) -> float:
    return x * _exact_gate(x)


@inline_kernel()
def _exact_slope(x: float) -> float:
    half, height = type(x)(0.5), type(x)(INV_SQRT_2_PI)
    return _exact_gate(x) + x * height * exp(-half * x * x)


@parallel_kernel()
def _forward(exact: bool, x: Array, bias: Array, y: Array) -> None:
    for i in prange(x.shape[0]):
        row, out = x[i], y[i]
        if exact:
            for j in range(row.size):
                out[j] = _exact_value(row[j] + bias[j])
        else:
            for j in range(row.size):
                out[j] = _tanh_value(row[j] + bias[j])


@kernel()
def _backward_row(exact: bool, dy: Array, x: Array, bias: Array, dx: Array, dbias: Array) -> None:
    if exact:
        for j in range(x.size):
            dx[j] = dy[j] * _exact_slope(x[j] + bias[j])
    else:
        for j in range(x.size):
            dx[j] = dy[j] * _tanh_slope(x[j] + bias[j])
    for j in range(x.size):
        dbias[j] += dx[j]


@parallel_kernel()
def _backward(exact: bool, dy: Array, x: Array, bias: Array, dx: Array, dbias_parts: Array) -> None:
    rows, chunks = x.shape[0], dbias_parts.shape[0]
    for chunk in prange(chunks):
        for i in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            _backward_row(exact, dy[i], x[i], bias, dx[i], dbias_parts[chunk])


def _bias_or_zeros(bias: Array | None, x: Array) -> Array:
    return np.zeros(x.shape[-1], x.dtype) if bias is None else bias


def _gelu_forward(exact: bool, x: Array, bias: Array | None) -> Array:
    y = empty(x.shape, x.dtype)
    _forward(exact, as_rows(x), _bias_or_zeros(bias, x), as_rows(y))
    return y


def _gelu_backward(
    exact: bool, dy: Array, x: Array, bias: Array | None, dbias: Array | None
) -> Array:
    dx = empty(x.shape, x.dtype)
    parts = partial_sums(x.shape[-1], x.dtype)
    _backward(exact, as_rows(dy), as_rows(x), _bias_or_zeros(bias, x), as_rows(dx), parts)
    if dbias is not None:
        dbias += parts.sum(axis=0)
    return dx


@compiled_form_of(reference.gelu_tanh_forward)
def gelu_tanh_forward(x: Array, bias: Array | None = None) -> Array:  # noqa: D103
    return _gelu_forward(False, x, bias)


@compiled_form_of(reference.gelu_tanh_backward)
def gelu_tanh_backward(  # noqa: D103
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    return _gelu_backward(False, dy, x, bias, dbias)


@compiled_form_of(reference.gelu_exact_forward)
def gelu_exact_forward(x: Array, bias: Array | None = None) -> Array:  # noqa: D103
    return _gelu_forward(True, x, bias)


@compiled_form_of(reference.gelu_exact_backward)
def gelu_exact_backward(  # noqa: D103
    dy: Array, x: Array, bias: Array | None = None, *, dbias: Array | None = None
) -> Array:
    return _gelu_backward(True, dy, x, bias, dbias)

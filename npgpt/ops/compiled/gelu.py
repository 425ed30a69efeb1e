"""GELU in one pass over memory."""

import math

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.compiled.jit import compiled_form_of, exp, parallel_kernel
from npgpt.ops.reference.gelu import CUBIC, SQRT_2_OVER_PI
from npgpt.ops.workspace import empty

SQRT_HALF = math.sqrt(0.5)
INV_SQRT_2_PI = 1.0 / math.sqrt(2.0 * math.pi)


@parallel_kernel()
def _tanh_forward(x, y):
    one = x.dtype.type(1.0)
    root, cubic = x.dtype.type(2.0 * SQRT_2_OVER_PI), x.dtype.type(CUBIC)
    for i in prange(x.size):
        # (1 + tanh u)/2 = 1/(1 + exp(-2u)): one exponential
        two_u = root * (x[i] + cubic * x[i] * x[i] * x[i])
        y[i] = x[i] / (one + exp(-two_u))


@parallel_kernel()
def _tanh_backward(dy, x, dx):
    one, three = x.dtype.type(1.0), x.dtype.type(3.0)
    root, cubic = x.dtype.type(2.0 * SQRT_2_OVER_PI), x.dtype.type(CUBIC)
    for i in prange(x.size):
        square = x[i] * x[i]
        two_u = root * (x[i] + cubic * square * x[i])
        gate = one / (one + exp(-two_u))
        slope = x[i] * gate * (one - gate) * root * (one + three * cubic * square)
        dx[i] = dy[i] * (gate + slope)


@parallel_kernel()
def _exact_forward(x, y):
    one, half, scale = x.dtype.type(1.0), x.dtype.type(0.5), x.dtype.type(SQRT_HALF)
    for i in prange(x.size):
        y[i] = half * x[i] * (one + math.erf(scale * x[i]))


@parallel_kernel()
def _exact_backward(dy, x, dx):
    one, half, scale = x.dtype.type(1.0), x.dtype.type(0.5), x.dtype.type(SQRT_HALF)
    height = x.dtype.type(INV_SQRT_2_PI)
    for i in prange(x.size):
        gate = half * (one + math.erf(scale * x[i]))
        density = height * exp(-half * x[i] * x[i])
        dx[i] = dy[i] * (gate + x[i] * density)


def _forward(kernel, x):
    x = np.ascontiguousarray(x)
    y = empty(x.shape, x.dtype)
    kernel(x.reshape(-1), y.reshape(-1))
    return y


def _backward(kernel, dy, x):
    dx = empty(x.shape, x.dtype)
    kernel(
        np.ascontiguousarray(dy).reshape(-1), np.ascontiguousarray(x).reshape(-1), dx.reshape(-1)
    )
    return dx


@compiled_form_of(reference.gelu_tanh_forward)
def gelu_tanh_forward(x):  # noqa: D103
    return _forward(_tanh_forward, x)


@compiled_form_of(reference.gelu_tanh_backward)
def gelu_tanh_backward(dy, x):  # noqa: D103
    return _backward(_tanh_backward, dy, x)


@compiled_form_of(reference.gelu_exact_forward)
def gelu_exact_forward(x):  # noqa: D103
    return _forward(_exact_forward, x)


@compiled_form_of(reference.gelu_exact_backward)
def gelu_exact_backward(dy, x):  # noqa: D103
    return _backward(_exact_backward, dy, x)

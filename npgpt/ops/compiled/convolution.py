"""Causal convolution as one product: what each output reads is first laid side by side."""

from __future__ import annotations

from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import compiled_form_of, parallel_kernel
from npgpt.ops.compiled.linear import linear_backward, linear_forward
from npgpt.ops.workspace import empty

__all__ = ["causal_conv1d_backward", "causal_conv1d_forward"]


@parallel_kernel()
def _unfold(x: Array, kernel: int, dilation: int, read: Array) -> None:
    """Write to (batch, time, d_in * kernel) what each output reads, in the weight's order."""
    time, d_in = x.shape[1:]
    for i in prange(x.shape[0] * time):
        row, t = i // time, i % time
        for j in range(kernel):
            s = t - (kernel - 1 - j) * dilation
            for k in range(d_in):
                read[row, t, k * kernel + j] = x[row, s, k] if s >= 0 else x.dtype.type(0.0)


@parallel_kernel()
def _fold(dread: Array, kernel: int, dilation: int, dx: Array) -> None:
    """Add up the gradients of all outputs that read a position."""
    time, d_in = dx.shape[1:]
    for i in prange(dx.shape[0] * time):
        row, s = i // time, i % time
        dx[row, s, :] = 0
        for j in range(kernel):
            t = s + (kernel - 1 - j) * dilation
            if t < time:
                for k in range(d_in):
                    dx[row, s, k] += dread[row, t, k * kernel + j]


def _read(x: Array, weight: Array, dilation: int) -> Array:
    _, d_in, kernel = weight.shape
    read = empty((*x.shape[:2], d_in * kernel), x.dtype)
    _unfold(x, kernel, dilation, read)
    return read


@compiled_form_of(reference.causal_conv1d_forward)
def causal_conv1d_forward(  # noqa: D103
    x: Array, weight: Array, bias: Array | None = None, *, dilation: int = 1
) -> Array:
    if x.dtype != weight.dtype or not x.flags.c_contiguous:
        return reference.causal_conv1d_forward(x, weight, bias, dilation=dilation)
    matrix = weight.reshape(len(weight), -1)
    return linear_forward(_read(x, weight, dilation), matrix, bias)


@compiled_form_of(reference.causal_conv1d_backward)
def causal_conv1d_backward(  # noqa: D103
    dy: Array, x: Array, weight: Array, *, dilation: int = 1, dweight: Array | None = None,
    dbias: Array | None = None,
) -> Array:  # fmt: skip
    contiguous = x.flags.c_contiguous and (dweight is None or dweight.flags.c_contiguous)
    if not (contiguous and dy.dtype == x.dtype == weight.dtype):
        return reference.causal_conv1d_backward(
            dy, x, weight, dilation=dilation, dweight=dweight, dbias=dbias
        )
    matrix = weight.reshape(len(weight), -1)
    dmatrix = None if dweight is None else dweight.reshape(matrix.shape)  # the same memory
    dread = linear_backward(dy, _read(x, weight, dilation), matrix, dweight=dmatrix, dbias=dbias)
    dx = empty(x.shape, x.dtype)
    _fold(dread, weight.shape[2], dilation, dx)
    return dx

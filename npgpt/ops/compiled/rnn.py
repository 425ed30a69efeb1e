"""Elman's recurrent network: at each step a product and one pass over its rows."""

from __future__ import annotations

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.activations import tanh
from npgpt.ops.compiled.jit import compiled_form_of, kernel, parallel_kernel
from npgpt.ops.compiled.recurrence import (
    fits,
    number_of_positions,
    of_inputs,
    outputs,
    states,
    step_product,
    weight_gradients,
)
from npgpt.ops.reference.recurrence import Tap, of_last, steps, steps_back
from npgpt.ops.workspace import empty

__all__ = ["rnn_backward", "rnn_forward"]


@kernel()
def _forward_row(a: Array, is_tanh: bool, h: Array) -> None:
    if is_tanh:
        for j in range(h.size):
            h[j] = tanh(a[j])
    else:
        for j in range(h.size):
            h[j] = max(a[j], h.dtype.type(0.0))


@parallel_kernel()
def _forward_step(
    t: int, lengths: Array, a: Array, is_tanh: bool, h_before: Array, h: Array
) -> None:
    for row in prange(h.shape[0]):
        if t < lengths[row]:
            _forward_row(a[row], is_tanh, h[row])
        else:
            h[row, :] = h_before[row]


@kernel()
def _backward_row(dy: Array, h: Array, is_tanh: bool, dh: Array, da: Array) -> None:
    zero, one = h.dtype.type(0.0), h.dtype.type(1.0)
    for j in range(h.size):
        slope = one - h[j] * h[j] if is_tanh else (one if h[j] > zero else zero)
        da[j] = (dy[j] + dh[j]) * slope
        dh[j] = zero


@parallel_kernel()
def _backward_step(
    t: int, lengths: Array, dy: Array, h: Array, is_tanh: bool, dh: Array, da: Array
) -> None:
    for row in prange(h.shape[0]):
        if t < lengths[row]:
            _backward_row(dy[row], h[row], is_tanh, dh[row], da[row])
        else:
            da[row, :] = 0


@compiled_form_of(reference.rnn_forward)
def rnn_forward(  # noqa: D103
    x: Array, h0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None = None,
    bias_hh: Array | None = None, *, nonlinearity: str = "tanh", lengths: Array | None = None,
    reverse: bool = False, tap: Tap | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    if not fits(tap, x, h0, weight_ih, weight_hh):
        return reference.rnn_forward(
            x, h0, weight_ih, weight_hh, bias_ih, bias_hh,
            nonlinearity=nonlinearity, lengths=lengths, reverse=reverse, tap=tap,
        )  # fmt: skip
    time, batch, _ = x.shape
    positions = number_of_positions(lengths, time, batch)
    a = of_inputs(x, weight_ih, bias_ih, bias_hh)
    h = states(h0, time, reverse)
    for t, was, is_now in steps(time, reverse):
        step_product(True, h[was], weight_hh, a[t], accumulate=True)
        _forward_step(t, positions, a[t], nonlinearity == "tanh", h[was], h[is_now])
    return outputs(h, lengths, reverse), h


@compiled_form_of(reference.rnn_backward)
def rnn_backward(  # noqa: D103
    dy: Array, x: Array, weight_ih: Array, weight_hh: Array, h: Array, *,
    nonlinearity: str = "tanh", lengths: Array | None = None, reverse: bool = False,
    tap: Tap | None = None, dh_n: Array | None = None,
    dweight_ih: Array | None = None, dweight_hh: Array | None = None,
    dbias_ih: Array | None = None, dbias_hh: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    if not fits(tap, dy, x, weight_ih, weight_hh, h):
        return reference.rnn_backward(
            dy, x, weight_ih, weight_hh, h,
            nonlinearity=nonlinearity, lengths=lengths, reverse=reverse, tap=tap,
            dh_n=dh_n, dweight_ih=dweight_ih, dweight_hh=dweight_hh,
            dbias_ih=dbias_ih, dbias_hh=dbias_hh,
        )  # fmt: skip
    time, batch, _ = x.shape
    positions = number_of_positions(lengths, time, batch)
    dy = np.ascontiguousarray(dy)
    dh, da = of_last(dh_n, h).copy(), empty(dy.shape, dy.dtype)
    for t, _, is_now in steps_back(time, reverse):
        _backward_step(t, positions, dy[t], h[is_now], nonlinearity == "tanh", dh, da[t])
        step_product(False, da[t], weight_hh, dh, accumulate=True)
    dx = weight_gradients(
        da, da, x, h, reverse, weight_ih, dweight_ih, dweight_hh, dbias_ih, dbias_hh
    )
    return dx, dh

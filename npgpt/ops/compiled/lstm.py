"""Long short-term memory: at each step a product and one pass over its rows."""

from __future__ import annotations

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.activations import sigmoid, tanh
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

__all__ = ["lstm_backward", "lstm_forward"]


@kernel()
def _forward_row(gates: Array, c_before: Array, c: Array, h: Array) -> None:
    """Turn the sums of one row into gates, in their place; write its cell and its state."""
    d = h.size
    for j in range(d):
        i, f = sigmoid(gates[j]), sigmoid(gates[d + j])
        g, o = tanh(gates[2 * d + j]), sigmoid(gates[3 * d + j])
        gates[j], gates[d + j], gates[2 * d + j], gates[3 * d + j] = i, f, g, o
        c[j] = f * c_before[j] + i * g
        h[j] = o * tanh(c[j])


@parallel_kernel()
def _forward_step(
    t: int, lengths: Array, gates: Array, c_before: Array, h_before: Array, c: Array, h: Array
) -> None:
    for row in prange(h.shape[0]):
        if t < lengths[row]:
            _forward_row(gates[row], c_before[row], c[row], h[row])
        else:
            gates[row, :] = 0
            c[row, :] = c_before[row]
            h[row, :] = h_before[row]


@kernel()
def _backward_row(
    dy: Array, gates: Array, c_before: Array, c: Array, dh: Array, dc: Array, da: Array
) -> None:
    """Undo `_forward_row`: ``dc`` becomes that of the cell before, ``dh`` is used up."""
    d, one = dy.size, dy.dtype.type(1.0)
    for j in range(d):
        i, f, g, o = gates[j], gates[d + j], gates[2 * d + j], gates[3 * d + j]
        # h = o tanh(c)
        dh_j, tanh_c = dy[j] + dh[j], tanh(c[j])
        dc_j = dc[j] + dh_j * o * (one - tanh_c * tanh_c)
        # c = f c_before + i g, and the gates' own slopes
        da[j] = dc_j * g * i * (one - i)
        da[d + j] = dc_j * c_before[j] * f * (one - f)
        da[2 * d + j] = dc_j * i * (one - g * g)
        da[3 * d + j] = dh_j * tanh_c * o * (one - o)
        dc[j] = dc_j * f
        dh[j] = dy.dtype.type(0.0)


@parallel_kernel()
def _backward_step(
    t: int, lengths: Array, dy: Array, gates: Array, c_before: Array, c: Array, dh: Array,
    dc: Array, da: Array,
) -> None:  # fmt: skip
    for row in prange(dy.shape[0]):
        if t < lengths[row]:
            _backward_row(dy[row], gates[row], c_before[row], c[row], dh[row], dc[row], da[row])
        else:
            da[row, :] = 0


@compiled_form_of(reference.lstm_forward)
def lstm_forward(  # noqa: D103
    x: Array, h0: Array, c0: Array, weight_ih: Array, weight_hh: Array,
    bias_ih: Array | None = None, bias_hh: Array | None = None, *, lengths: Array | None = None,
    reverse: bool = False, tap: Tap | None = None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    if not fits(tap, x, h0, c0, weight_ih, weight_hh):
        return reference.lstm_forward(
            x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh,
            lengths=lengths, reverse=reverse, tap=tap,
        )  # fmt: skip
    time, batch, _ = x.shape
    positions = number_of_positions(lengths, time, batch)
    gates = of_inputs(x, weight_ih, bias_ih, bias_hh)  # what will be gates
    h, c = states(h0, time, reverse), states(c0, time, reverse)
    for t, was, is_now in steps(time, reverse):
        step_product(True, h[was], weight_hh, gates[t], accumulate=True)
        _forward_step(t, positions, gates[t], c[was], h[was], c[is_now], h[is_now])
    return outputs(h, lengths, reverse), h, c, gates


@compiled_form_of(reference.lstm_backward)
def lstm_backward(  # noqa: D103
    dy: Array, x: Array, weight_ih: Array, weight_hh: Array, h: Array,
    c: Array, gates: Array, *, lengths: Array | None = None, reverse: bool = False,
    tap: Tap | None = None, dh_n: Array | None = None, dc_n: Array | None = None,
    dweight_ih: Array | None = None, dweight_hh: Array | None = None,
    dbias_ih: Array | None = None, dbias_hh: Array | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    if not fits(tap, dy, x, weight_ih, weight_hh, h, c, gates):
        return reference.lstm_backward(
            dy, x, weight_ih, weight_hh, h, c, gates,
            lengths=lengths, reverse=reverse, tap=tap,
            dh_n=dh_n, dc_n=dc_n, dweight_ih=dweight_ih, dweight_hh=dweight_hh,
            dbias_ih=dbias_ih, dbias_hh=dbias_hh,
        )  # fmt: skip
    time, batch, _ = x.shape
    positions = number_of_positions(lengths, time, batch)
    dy = np.ascontiguousarray(dy)
    dh, dc, da = of_last(dh_n, h).copy(), of_last(dc_n, c).copy(), empty(gates.shape, gates.dtype)
    for t, was, is_now in steps_back(time, reverse):
        _backward_step(t, positions, dy[t], gates[t], c[was], c[is_now], dh, dc, da[t])
        step_product(False, da[t], weight_hh, dh, accumulate=True)
    dx = weight_gradients(
        da, da, x, h, reverse, weight_ih, dweight_ih, dweight_hh, dbias_ih, dbias_hh
    )
    return dx, dh, dc

"""Gated recurrent units: at each step a product and one pass over its rows."""

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

__all__ = ["gru_backward", "gru_forward"]


@kernel()
def _forward_row(
    gates: Array, b: Array, bias: Array, h_before: Array, recalled: Array, h: Array
) -> None:
    """Turn the sums of one row into gates, in their place; write its state."""
    d, one = h.size, h.dtype.type(1.0)
    for j in range(d):
        r = sigmoid(gates[j] + b[j] + bias[j])
        z = sigmoid(gates[d + j] + b[d + j] + bias[d + j])
        recalled[j] = b[2 * d + j] + bias[2 * d + j]
        n = tanh(gates[2 * d + j] + r * recalled[j])
        gates[j], gates[d + j], gates[2 * d + j] = r, z, n
        h[j] = (one - z) * n + z * h_before[j]


@parallel_kernel()
def _forward_step(
    t: int, lengths: Array, gates: Array, b: Array, bias: Array, h_before: Array, recalled: Array,
    h: Array,
) -> None:  # fmt: skip
    for row in prange(h.shape[0]):
        if t < lengths[row]:
            _forward_row(gates[row], b[row], bias, h_before[row], recalled[row], h[row])
        else:
            gates[row, :] = 0
            recalled[row, :] = 0
            h[row, :] = h_before[row]


@kernel()
def _backward_row(
    dy: Array, gates: Array, recalled: Array, h_before: Array, dh: Array, da: Array, db: Array
) -> None:
    """Undo `_forward_row`: ``dh`` becomes what reaches the state before round the gates."""
    d, one = dy.size, dy.dtype.type(1.0)
    for j in range(d):
        r, z, n = gates[j], gates[d + j], gates[2 * d + j]
        # h = (1 - z) n + z h_before
        dh_j = dy[j] + dh[j]
        dh[j] = dh_j * z
        da_n = dh_j * (one - z) * (one - n * n)
        da_z = dh_j * (h_before[j] - n) * z * (one - z)
        # n = tanh(a_n + r recalled)
        da_r = da_n * recalled[j] * r * (one - r)
        da[j], da[d + j], da[2 * d + j] = da_r, da_z, da_n
        db[j], db[d + j], db[2 * d + j] = da_r, da_z, da_n * r


@parallel_kernel()
def _backward_step(
    t: int, lengths: Array, dy: Array, gates: Array, recalled: Array, h_before: Array, dh: Array,
    da: Array, db: Array,
) -> None:  # fmt: skip
    for row in prange(dy.shape[0]):
        if t < lengths[row]:
            _backward_row(
                dy[row], gates[row], recalled[row], h_before[row], dh[row], da[row], db[row]
            )
        else:
            da[row, :] = 0
            db[row, :] = 0


@compiled_form_of(reference.gru_forward)
def gru_forward(  # noqa: D103
    x: Array, h0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None = None,
    bias_hh: Array | None = None, *, lengths: Array | None = None, reverse: bool = False,
    tap: Tap | None = None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    if not fits(tap, x, h0, weight_ih, weight_hh):
        return reference.gru_forward(
            x, h0, weight_ih, weight_hh, bias_ih, bias_hh,
            lengths=lengths, reverse=reverse, tap=tap,
        )  # fmt: skip
    time, batch, d_hidden = x.shape[0], *h0.shape
    positions = number_of_positions(lengths, time, batch)
    gates = of_inputs(x, weight_ih, bias_ih)  # what will be gates
    bias = np.zeros(3 * d_hidden, x.dtype) if bias_hh is None else np.ascontiguousarray(bias_hh)
    h, b = states(h0, time, reverse), empty((batch, 3 * d_hidden), x.dtype)
    recalled = empty((time, batch, d_hidden), x.dtype)
    for t, was, is_now in steps(time, reverse):
        step_product(True, h[was], weight_hh, b, accumulate=False)
        _forward_step(t, positions, gates[t], b, bias, h[was], recalled[t], h[is_now])
    return outputs(h, lengths, reverse), h, gates, recalled


@compiled_form_of(reference.gru_backward)
def gru_backward(  # noqa: D103
    dy: Array, x: Array, weight_ih: Array, weight_hh: Array, h: Array, gates: Array,
    recalled: Array, *, lengths: Array | None = None, reverse: bool = False,
    tap: Tap | None = None, dh_n: Array | None = None,
    dweight_ih: Array | None = None, dweight_hh: Array | None = None,
    dbias_ih: Array | None = None, dbias_hh: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    if not fits(tap, dy, x, weight_ih, weight_hh, h, gates, recalled):
        return reference.gru_backward(
            dy, x, weight_ih, weight_hh, h, gates, recalled,
            lengths=lengths, reverse=reverse, tap=tap,
            dh_n=dh_n, dweight_ih=dweight_ih, dweight_hh=dweight_hh,
            dbias_ih=dbias_ih, dbias_hh=dbias_hh,
        )  # fmt: skip
    time, batch, _ = x.shape
    positions = number_of_positions(lengths, time, batch)
    dy = np.ascontiguousarray(dy)
    dh, da, db = of_last(dh_n, h).copy(), empty(gates.shape, dy.dtype), empty(gates.shape, dy.dtype)
    for t, was, _ in steps_back(time, reverse):
        _backward_step(t, positions, dy[t], gates[t], recalled[t], h[was], dh, da[t], db[t])
        step_product(False, db[t], weight_hh, dh, accumulate=True)
    dx = weight_gradients(
        da, db, x, h, reverse, weight_ih, dweight_ih, dweight_hh, dbias_ih, dbias_hh
    )
    return dx, dh

"""Long short-term memory: at each step products and one pass over their rows."""

from __future__ import annotations

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.activations import sigmoid, tanh
from npgpt.ops.compiled.jit import compiled_form_of, kernel, parallel_kernel
from npgpt.ops.compiled.recurrence import (
    are_few,
    at_step,
    bias_of,
    copy_row,
    few_sums,
    fits,
    input_gradient,
    last_state,
    number_of_blocks,
    number_of_positions,
    of_inputs,
    outputs,
    set_product,
    states,
    sums_of_rows,
    weight_gradients,
)
from npgpt.ops.compiled.tiles import add_product, pack
from npgpt.ops.reference.recurrence import Tap, of_last, steps
from npgpt.ops.workspace import empty

__all__ = ["lstm_backward", "lstm_forward"]


@kernel()
def _forward_row(a: Array, gates: Array, c_before: Array, c: Array, h: Array) -> None:
    """Turn the sums of one row into gates; write its cell and its state."""
    d = h.size
    for j in range(d):
        i, f = sigmoid(a[j]), sigmoid(a[d + j])
        g, o = tanh(a[2 * d + j]), sigmoid(a[3 * d + j])
        gates[j], gates[d + j], gates[2 * d + j], gates[3 * d + j] = i, f, g, o
        c[j] = f * c_before[j] + i * g
        h[j] = o * tanh(c[j])


@kernel()
def _forward_step(
    t: int, was: int, is_now: int, begin: int, end: int, lengths: Array, a: Array, gates: Array,
    c: Array, h: Array,
) -> None:  # fmt: skip
    for row in range(begin, end):
        if t < lengths[row]:
            _forward_row(a[row], gates[t, row], c[was, row], c[is_now, row], h[is_now, row])
        else:
            gates[t, row, :] = 0
            copy_row(c[was, row], c[is_now, row])
            copy_row(h[was, row], h[is_now, row])


@kernel()
def _forward_block(
    begin: int, end: int, x: Array, packed_ih: Array, packed_hh: Array, bias: Array,
    lengths: Array, reverse: bool, a: Array, gates: Array, c: Array, h: Array,
) -> None:  # fmt: skip
    """Take rows through all steps; ``a`` has room for their sums."""
    for step in range(x.shape[0]):
        t, was, is_now = at_step(step, x.shape[0], reverse)
        set_product(x[t, begin:end], packed_ih, bias, a[begin:end])
        add_product(h[was, begin:end], packed_hh, a[begin:end])
        _forward_step(t, was, is_now, begin, end, lengths, a, gates, c, h)


@parallel_kernel()
def _forward(
    x: Array, packed_ih: Array, packed_hh: Array, bias: Array, lengths: Array, reverse: bool,
    a: Array, gates: Array, c: Array, h: Array, blocks: int,
) -> None:  # fmt: skip
    batch = x.shape[1]
    for block in prange(blocks):
        begin, end = block * batch // blocks, (block + 1) * batch // blocks
        _forward_block(begin, end, x, packed_ih, packed_hh, bias, lengths, reverse, a, gates, c, h)


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


@kernel()
def _backward_block(
    begin: int, end: int, dy: Array, packed_hh: Array, lengths: Array, reverse: bool,
    gates: Array, c: Array, dh: Array, dc: Array, da: Array,
) -> None:  # fmt: skip
    """Undo `_forward_block`, from the last step to the first."""
    for step in range(dy.shape[0] - 1, -1, -1):
        t, was, is_now = at_step(step, dy.shape[0], reverse)
        for row in range(begin, end):
            if t < lengths[row]:
                _backward_row(
                    dy[t, row], gates[t, row], c[was, row], c[is_now, row], dh[row], dc[row],
                    da[t, row],
                )  # fmt: skip
            else:
                da[t, row, :] = 0
        add_product(da[t, begin:end], packed_hh, dh[begin:end])


@parallel_kernel()
def _backward(
    dy: Array, packed_hh: Array, lengths: Array, reverse: bool, gates: Array, c: Array, dh: Array,
    dc: Array, da: Array, blocks: int,
) -> None:  # fmt: skip
    batch = dy.shape[1]
    for block in prange(blocks):
        begin, end = block * batch // blocks, (block + 1) * batch // blocks
        _backward_block(begin, end, dy, packed_hh, lengths, reverse, gates, c, dh, dc, da)


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
    bias, width = bias_of(weight_ih, bias_ih, bias_hh), len(weight_ih)
    gates = empty((time, batch, width), x.dtype)
    h, c = states(h0, time, reverse), states(c0, time, reverse)
    if are_few(x):
        of_x = of_inputs(x, weight_ih, bias)
        for t, was, is_now in steps(time, reverse):
            a = few_sums(h[was], weight_hh)
            a += of_x[t]
            _forward_step(t, was, is_now, 0, batch, positions, a, gates, c, h)
    else:
        _forward(
            np.ascontiguousarray(x), pack(weight_ih, True), pack(weight_hh, True), bias, positions,
            reverse, sums_of_rows(batch, width, x.dtype), gates, c, h, number_of_blocks(batch),
        )  # fmt: skip
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
    dh, dc = last_state(dh_n, h), of_last(dc_n, c).copy()
    da = empty(gates.shape, gates.dtype)
    _backward(
        np.ascontiguousarray(dy), pack(weight_hh, False), positions, reverse, gates, c, dh, dc, da,
        number_of_blocks(batch),
    )  # fmt: skip
    weight_gradients(da, da, x, h, reverse, dweight_ih, dweight_hh, dbias_ih, dbias_hh)
    return input_gradient(da, weight_ih), dh[:, : h.shape[-1]], dc

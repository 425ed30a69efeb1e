"""Gated recurrent units: at each step products and one pass over their rows."""

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
from npgpt.ops.reference.recurrence import Tap, steps
from npgpt.ops.workspace import empty

__all__ = ["gru_backward", "gru_forward"]


@kernel()
def _forward_row(
    a: Array, b: Array, gates: Array, h_before: Array, recalled: Array, h: Array
) -> None:
    """Turn the sums of one row, of inputs and of states, into gates; write its state."""
    d, one = h.size, h.dtype.type(1.0)
    for j in range(d):
        r, z = sigmoid(a[j] + b[j]), sigmoid(a[d + j] + b[d + j])
        recalled[j] = b[2 * d + j]
        n = tanh(a[2 * d + j] + r * recalled[j])
        gates[j], gates[d + j], gates[2 * d + j] = r, z, n
        h[j] = (one - z) * n + z * h_before[j]


@kernel()
def _forward_step(
    t: int, was: int, is_now: int, begin: int, end: int, lengths: Array, a: Array, b: Array,
    gates: Array, recalled: Array, h: Array,
) -> None:  # fmt: skip
    for row in range(begin, end):
        if t < lengths[row]:
            _forward_row(
                a[row], b[row], gates[t, row], h[was, row], recalled[t, row], h[is_now, row]
            )
        else:
            gates[t, row, :] = 0
            recalled[t, row, :] = 0
            copy_row(h[was, row], h[is_now, row])


@kernel()
def _forward_block(
    begin: int, end: int, x: Array, packed_ih: Array, packed_hh: Array, bias_ih: Array,
    bias_hh: Array, lengths: Array, reverse: bool, a: Array, b: Array, gates: Array,
    recalled: Array, h: Array,
) -> None:  # fmt: skip
    """Take rows through all steps; ``a`` and ``b`` have room for their sums."""
    for step in range(x.shape[0]):
        t, was, is_now = at_step(step, x.shape[0], reverse)
        set_product(x[t, begin:end], packed_ih, bias_ih, a[begin:end])
        set_product(h[was, begin:end], packed_hh, bias_hh, b[begin:end])
        _forward_step(t, was, is_now, begin, end, lengths, a, b, gates, recalled, h)


@parallel_kernel()
def _forward(
    x: Array, packed_ih: Array, packed_hh: Array, bias_ih: Array, bias_hh: Array, lengths: Array,
    reverse: bool, a: Array, b: Array, gates: Array, recalled: Array, h: Array, blocks: int,
) -> None:  # fmt: skip
    batch = x.shape[1]
    for block in prange(blocks):
        begin, end = block * batch // blocks, (block + 1) * batch // blocks
        _forward_block(
            begin, end, x, packed_ih, packed_hh, bias_ih, bias_hh, lengths, reverse, a, b, gates,
            recalled, h,
        )  # fmt: skip


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


@kernel()
def _backward_block(
    begin: int, end: int, dy: Array, packed_hh: Array, lengths: Array, reverse: bool,
    gates: Array, recalled: Array, h: Array, dh: Array, da: Array, db: Array,
) -> None:  # fmt: skip
    """Undo `_forward_block`, from the last step to the first."""
    for step in range(dy.shape[0] - 1, -1, -1):
        t, was, _ = at_step(step, dy.shape[0], reverse)
        for row in range(begin, end):
            if t < lengths[row]:
                _backward_row(
                    dy[t, row], gates[t, row], recalled[t, row], h[was, row], dh[row], da[t, row],
                    db[t, row],
                )  # fmt: skip
            else:
                da[t, row, :] = 0
                db[t, row, :] = 0
        add_product(db[t, begin:end], packed_hh, dh[begin:end])


@parallel_kernel()
def _backward(
    dy: Array, packed_hh: Array, lengths: Array, reverse: bool, gates: Array, recalled: Array,
    h: Array, dh: Array, da: Array, db: Array, blocks: int,
) -> None:  # fmt: skip
    batch = dy.shape[1]
    for block in prange(blocks):
        begin, end = block * batch // blocks, (block + 1) * batch // blocks
        _backward_block(begin, end, dy, packed_hh, lengths, reverse, gates, recalled, h, dh, da, db)


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
    bias_a, bias_b = bias_of(weight_ih, bias_ih), bias_of(weight_hh, bias_hh)
    gates = empty((time, batch, 3 * d_hidden), x.dtype)
    recalled, h = empty((time, batch, d_hidden), x.dtype), states(h0, time, reverse)
    if are_few(x):
        a = of_inputs(x, weight_ih, bias_a)
        for t, was, is_now in steps(time, reverse):
            b = few_sums(h[was], weight_hh, bias_b)
            _forward_step(t, was, is_now, 0, batch, positions, a[t], b, gates, recalled, h)
    else:
        a, b = (sums_of_rows(batch, 3 * d_hidden, x.dtype) for _ in range(2))
        _forward(
            np.ascontiguousarray(x), pack(weight_ih, True), pack(weight_hh, True), bias_a, bias_b,
            positions, reverse, a, b, gates, recalled, h, number_of_blocks(batch),
        )  # fmt: skip
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
    dh = last_state(dh_n, h)
    da, db = empty(gates.shape, gates.dtype), empty(gates.shape, gates.dtype)
    _backward(
        np.ascontiguousarray(dy), pack(weight_hh, False), positions, reverse, gates, recalled, h,
        dh, da, db, number_of_blocks(batch),
    )  # fmt: skip
    weight_gradients(da, db, x, h, reverse, dweight_ih, dweight_hh, dbias_ih, dbias_hh)
    return input_gradient(da, weight_ih), dh[:, : h.shape[-1]]

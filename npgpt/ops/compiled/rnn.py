"""Elman's recurrent network: at each step products and one pass over their rows."""

from __future__ import annotations

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.activations import tanh
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

__all__ = ["rnn_backward", "rnn_forward"]


@kernel()
def _forward_row(a: Array, is_tanh: bool, h: Array) -> None:
    if is_tanh:
        for j in range(h.size):
            h[j] = tanh(a[j])
    else:
        for j in range(h.size):
            h[j] = max(a[j], h.dtype.type(0.0))


@kernel()
def _forward_step(
    t: int, was: int, is_now: int, begin: int, end: int, lengths: Array, a: Array, is_tanh: bool,
    h: Array,
) -> None:  # fmt: skip
    for row in range(begin, end):
        if t < lengths[row]:
            _forward_row(a[row], is_tanh, h[is_now, row])
        else:
            copy_row(h[was, row], h[is_now, row])


@kernel()
def _forward_block(
    begin: int, end: int, x: Array, packed_ih: Array, packed_hh: Array, bias: Array,
    lengths: Array, reverse: bool, a: Array, is_tanh: bool, h: Array,
) -> None:  # fmt: skip
    """Take rows through all steps; ``a`` has room for their sums."""
    for step in range(x.shape[0]):
        t, was, is_now = at_step(step, x.shape[0], reverse)
        set_product(x[t, begin:end], packed_ih, bias, a[begin:end])
        add_product(h[was, begin:end], packed_hh, a[begin:end])
        _forward_step(t, was, is_now, begin, end, lengths, a, is_tanh, h)


@parallel_kernel()
def _forward(
    x: Array, packed_ih: Array, packed_hh: Array, bias: Array, lengths: Array, reverse: bool,
    a: Array, is_tanh: bool, h: Array, blocks: int,
) -> None:  # fmt: skip
    batch = x.shape[1]
    for block in prange(blocks):
        begin, end = block * batch // blocks, (block + 1) * batch // blocks
        _forward_block(begin, end, x, packed_ih, packed_hh, bias, lengths, reverse, a, is_tanh, h)


@kernel()
def _backward_row(dy: Array, h: Array, is_tanh: bool, dh: Array, da: Array) -> None:
    zero, one = h.dtype.type(0.0), h.dtype.type(1.0)
    for j in range(h.size):
        slope = one - h[j] * h[j] if is_tanh else (one if h[j] > zero else zero)
        da[j] = (dy[j] + dh[j]) * slope
        dh[j] = zero


@kernel()
def _backward_block(
    begin: int, end: int, dy: Array, packed_hh: Array, lengths: Array, reverse: bool,
    is_tanh: bool, h: Array, dh: Array, da: Array,
) -> None:  # fmt: skip
    """Undo `_forward_block`, from the last step to the first."""
    for step in range(dy.shape[0] - 1, -1, -1):
        t, _, is_now = at_step(step, dy.shape[0], reverse)
        for row in range(begin, end):
            if t < lengths[row]:
                _backward_row(dy[t, row], h[is_now, row], is_tanh, dh[row], da[t, row])
            else:
                da[t, row, :] = 0
        add_product(da[t, begin:end], packed_hh, dh[begin:end])


@parallel_kernel()
def _backward(
    dy: Array, packed_hh: Array, lengths: Array, reverse: bool, is_tanh: bool, h: Array,
    dh: Array, da: Array, blocks: int,
) -> None:  # fmt: skip
    batch = dy.shape[1]
    for block in prange(blocks):
        begin, end = block * batch // blocks, (block + 1) * batch // blocks
        _backward_block(begin, end, dy, packed_hh, lengths, reverse, is_tanh, h, dh, da)


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
    positions, is_tanh = number_of_positions(lengths, time, batch), nonlinearity == "tanh"
    bias, h = bias_of(weight_ih, bias_ih, bias_hh), states(h0, time, reverse)
    if are_few(x):
        of_x = of_inputs(x, weight_ih, bias)
        for t, was, is_now in steps(time, reverse):
            a = few_sums(h[was], weight_hh)
            a += of_x[t]
            _forward_step(t, was, is_now, 0, batch, positions, a, is_tanh, h)
    else:
        _forward(
            np.ascontiguousarray(x), pack(weight_ih, True), pack(weight_hh, True), bias, positions,
            reverse, sums_of_rows(batch, h.shape[-1], x.dtype), is_tanh, h, number_of_blocks(batch),
        )  # fmt: skip
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
    positions, is_tanh = number_of_positions(lengths, time, batch), nonlinearity == "tanh"
    dh, da = last_state(dh_n, h), empty(dy.shape, dy.dtype)
    _backward(
        np.ascontiguousarray(dy), pack(weight_hh, False), positions, reverse, is_tanh, h, dh, da,
        number_of_blocks(batch),
    )  # fmt: skip
    weight_gradients(da, da, x, h, reverse, dweight_ih, dweight_hh, dbias_ih, dbias_hh)
    return input_gradient(da, weight_ih), dh[:, : h.shape[-1]]

"""Long short-term memory over whole sequences.

(Hochreiter and Schmidhuber 1997, Neural Computation 9(8); with the forget gate of Gers, Schmidhuber
and Cummins 2000, Neural Computation 12(10).) The gates' order is PyTorch's: input, forget,
candidate, output.
"""

from __future__ import annotations

import numpy as np

from npgpt.ops.array import Array
from npgpt.ops.reference.linear import linear_backward, linear_forward
from npgpt.ops.reference.recurrence import (
    Tap,
    after,
    are_there,
    before,
    begin,
    of_last,
    sigmoid,
    steps,
    steps_back,
    tapped,
)

__all__ = ["lstm_backward", "lstm_forward"]

GATES = ("input_gate", "forget_gate", "candidate", "output_gate")


def lstm_forward(
    x: Array, h0: Array, c0: Array, weight_ih: Array, weight_hh: Array,
    bias_ih: Array | None = None, bias_hh: Array | None = None, *, lengths: Array | None = None,
    reverse: bool = False, tap: Tap | None = None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Read sequences step by step, with a cell that gates write, keep and show.

    With ``a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh``, cut in four: ``i = sigmoid(a_i)``,
    ``f = sigmoid(a_f)``, ``g = tanh(a_g)``, ``o = sigmoid(a_o)``; ``c_t = f c_{t-1} + i g`` and
    ``h_t = o tanh(c_t)``.

    Parameters
    ----------
    x : ndarray, shape (time, batch, d_in)
    h0, c0 : ndarray, shape (batch, d_hidden)
        The state and the cell before the first step.
    weight_ih, weight_hh : ndarray, shapes (4 d_hidden, d_in), (4 d_hidden, d_hidden)
    bias_ih, bias_hh : ndarray, shape (4 d_hidden,), optional
    lengths : ndarray of int, shape (batch,), optional
        How many positions each sequence has; what comes after them leaves state and cell as they
        are.
    reverse : bool
        Read from the last position to the first, ``h_{t+1}`` in the place of ``h_{t-1}``.
    tap : function, optional
        From (name, array, t) to what step t goes on with: shows each step what is made of
        "input_gate", "forget_gate", "candidate", "output_gate", "cell" and "hidden", each
        (time, batch, d_hidden).

    Returns
    -------
    y : ndarray, shape (time, batch, d_hidden)
        The state after each position; 0 where a sequence has ended.
    h, c : ndarray, shape (time + 1, batch, d_hidden)
        All states and cells, with the first: forwards ``h[t]`` is the one before position t, in
        reverse the one after it.
    gates : ndarray, shape (time, batch, 4 d_hidden)
        i, f, g and o; 0 where a sequence has ended.
    """
    time, batch, _ = x.shape
    there = are_there(lengths, time, batch)
    a = linear_forward(x, weight_ih, bias_ih)  # of all positions in one product
    gates = np.zeros_like(a)
    h, c = begin(h0, time, reverse), begin(c0, time, reverse)
    for t, was, is_now in steps(time, reverse):
        a_t = a[t] + linear_forward(h[was], weight_hh, bias_hh)
        i, f, g, o = np.split(a_t, 4, axis=-1)
        gates[t] = np.concatenate([sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)], axis=-1)
        gates[t] *= there[t]
        i, f, g, o = tapped(tap, GATES, gates, t)
        c[is_now] = np.where(there[t], f * c[was] + i * g, c[was])
        tapped(tap, ["cell"], after(c, reverse), t)
        h[is_now] = np.where(there[t], o * np.tanh(c[is_now]), h[was])
        tapped(tap, ["hidden"], after(h, reverse), t)
    return np.where(there, after(h, reverse), h.dtype.type(0)), h, c, gates


def lstm_backward(
    dy: Array, x: Array, weight_ih: Array, weight_hh: Array, h: Array,
    c: Array, gates: Array, *, lengths: Array | None = None, reverse: bool = False,
    tap: Tap | None = None, dh_n: Array | None = None, dc_n: Array | None = None,
    dweight_ih: Array | None = None, dweight_hh: Array | None = None,
    dbias_ih: Array | None = None, dbias_hh: Array | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Go back through time, from the last step to the first.

    ``dh_t = dy_t + W_hh^T da_{t+1}`` and ``dc_t = f_{t+1} dc_{t+1} + dh_t o (1 - tanh(c_t)^2)``;
    ``da_i = dc_t g i (1 - i)``, ``da_f = dc_t c_{t-1} f (1 - f)``, ``da_g = dc_t i (1 - g^2)``,
    ``da_o = dh_t tanh(c_t) o (1 - o)``.

    Parameters
    ----------
    dy : ndarray, shape (time, batch, d_hidden)
    x, weight_ih, weight_hh, lengths, reverse
        As in forward.
    h, c, gates : ndarray
        What forward kept.
    tap : function, optional
        As in forward, of the gradients.
    dh_n, dc_n : ndarray, shape (batch, d_hidden), optional
        The gradients of state and cell after the last step; by default 0.
    dweight_ih, dweight_hh, dbias_ih, dbias_hh : ndarray, optional
        Added to in place.

    Returns
    -------
    dx : ndarray, shape (time, batch, d_in)
    dh0, dc0 : ndarray, shape (batch, d_hidden)
    """
    time, batch, _ = x.shape
    there = are_there(lengths, time, batch)
    dhidden, dcell = np.zeros_like(dy), np.zeros_like(dy)
    dgates, da = np.zeros_like(gates), np.zeros_like(gates)
    dh, dc = of_last(dh_n, h), of_last(dc_n, c)
    for t, was, is_now in steps_back(time, reverse):
        i, f, g, o = np.split(gates[t], 4, axis=-1)
        dhidden[t] = there[t] * dy[t] + dh
        (dh,) = tapped(tap, ["hidden"], dhidden, t)
        # h_t = o tanh(c_t)
        tanh_c = np.tanh(c[is_now])
        do = dh * tanh_c
        dcell[t] = dc + dh * o * (1.0 - tanh_c * tanh_c)
        (dc,) = tapped(tap, ["cell"], dcell, t)
        # c_t = f c_{t-1} + i g
        dgates[t] = np.concatenate([dc * g, dc * c[was], dc * i, do], axis=-1)
        di, df, dg, do = tapped(tap, GATES, dgates, t)
        dc = np.where(there[t], dc * f, dc)
        # the gates' own slopes
        slopes = [di * i * (1.0 - i), df * f * (1.0 - f), dg * (1.0 - g * g), do * o * (1.0 - o)]
        da[t] = there[t] * np.concatenate(slopes, axis=-1)
        dh = np.where(there[t], 0.0, dh) + da[t] @ weight_hh
    dx = linear_backward(da, x, weight_ih, dweight=dweight_ih, dbias=dbias_ih)
    linear_backward(da, before(h, reverse), weight_hh, dweight=dweight_hh, dbias=dbias_hh)
    return dx, dh, dc

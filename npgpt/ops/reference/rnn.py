"""Elman's recurrent network over whole sequences (Elman 1990, Cognitive Science 14)."""

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
    steps,
    steps_back,
    tapped,
)

__all__ = ["rnn_backward", "rnn_forward"]


def rnn_forward(
    x: Array, h0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None = None,
    bias_hh: Array | None = None, *, nonlinearity: str = "tanh", lengths: Array | None = None,
    reverse: bool = False, tap: Tap | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Read sequences step by step: ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Parameters
    ----------
    x : ndarray, shape (time, batch, d_in)
    h0 : ndarray, shape (batch, d_hidden)
        The state before the first step.
    weight_ih, weight_hh : ndarray, shapes (d_hidden, d_in), (d_hidden, d_hidden)
    bias_ih, bias_hh : ndarray, shape (d_hidden,), optional
    nonlinearity : {"tanh", "relu"}
        What takes the place of tanh.
    lengths : ndarray of int, shape (batch,), optional
        How many positions each sequence has; what comes after them leaves the state as it is.
    reverse : bool
        Read from the last position to the first, ``h_{t+1}`` in the place of ``h_{t-1}``.
    tap : function, optional
        From (name, array, t) to what step t goes on with: shows each step what is made of
        "hidden", (time, batch, d_hidden).

    Returns
    -------
    y : ndarray, shape (time, batch, d_hidden)
        The state after each position; 0 where a sequence has ended.
    h : ndarray, shape (time + 1, batch, d_hidden)
        All states, with the first: forwards ``h[t]`` is the one before position t, in reverse the
        one after it.
    """
    time, batch, _ = x.shape
    there = are_there(lengths, time, batch)
    a = linear_forward(x, weight_ih, bias_ih)  # of all positions in one product
    h = begin(h0, time, reverse)
    for t, was, is_now in steps(time, reverse):
        a_t = a[t] + linear_forward(h[was], weight_hh, bias_hh)
        made = np.tanh(a_t) if nonlinearity == "tanh" else np.where(a_t.real > 0, a_t, 0.0)
        h[is_now] = np.where(there[t], made, h[was])
        tapped(tap, ["hidden"], after(h, reverse), t)
    return np.where(there, after(h, reverse), h.dtype.type(0)), h


def rnn_backward(
    dy: Array, x: Array, weight_ih: Array, weight_hh: Array, h: Array, *,
    nonlinearity: str = "tanh", lengths: Array | None = None, reverse: bool = False,
    tap: Tap | None = None, dh_n: Array | None = None,
    dweight_ih: Array | None = None, dweight_hh: Array | None = None,
    dbias_ih: Array | None = None, dbias_hh: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Go back through time (Werbos 1990, Proc. IEEE 78), from the last step to the first.

    With ``a_t`` what the tanh is of: ``dh_t = dy_t + W_hh^T da_{t+1}``,
    ``da_t = dh_t (1 - h_t^2)``; the weights' gradients are sums over all steps,
    ``dW_hh += sum_t da_t h_{t-1}^T`` and ``dW_ih += sum_t da_t x_t^T``.

    Parameters
    ----------
    dy : ndarray, shape (time, batch, d_hidden)
    x, weight_ih, weight_hh, nonlinearity, lengths, reverse
        As in forward.
    h : ndarray, shape (time + 1, batch, d_hidden)
        What forward kept.
    tap : function, optional
        As in forward, of the gradients.
    dh_n : ndarray, shape (batch, d_hidden), optional
        The gradient of the state after the last step; by default 0.
    dweight_ih, dweight_hh, dbias_ih, dbias_hh : ndarray, optional
        Added to in place.

    Returns
    -------
    dx : ndarray, shape (time, batch, d_in)
    dh0 : ndarray, shape (batch, d_hidden)
    """
    time, batch, _ = x.shape
    there = are_there(lengths, time, batch)
    dhidden, da = np.zeros_like(dy), np.zeros_like(dy)
    dh = of_last(dh_n, h)
    for t, _, is_now in steps_back(time, reverse):
        dhidden[t] = there[t] * dy[t] + dh
        (dh,) = tapped(tap, ["hidden"], dhidden, t)
        slope = 1.0 - h[is_now] * h[is_now] if nonlinearity == "tanh" else h[is_now].real > 0
        da[t] = there[t] * dh * slope
        dh = np.where(there[t], 0.0, dh) + da[t] @ weight_hh
    dx = linear_backward(da, x, weight_ih, dweight=dweight_ih, dbias=dbias_ih)
    linear_backward(da, before(h, reverse), weight_hh, dweight=dweight_hh, dbias=dbias_hh)
    return dx, dh

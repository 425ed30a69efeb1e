"""Gated recurrent units over whole sequences (Cho et al. 2014, arXiv 1406.1078).

In the form whose reset gate acts after the recurrent product, as cuDNN and PyTorch have it; the
gates' order is PyTorch's: reset, update, candidate.
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

__all__ = ["gru_backward", "gru_forward"]

GATES = ("reset_gate", "update_gate")


def gru_forward(
    x: Array, h0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None = None,
    bias_hh: Array | None = None, *, lengths: Array | None = None, reverse: bool = False,
    tap: Tap | None = None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Read sequences step by step, with a state that is partly replaced.

    With ``a = W_ih x_t + b_ih`` and ``b = W_hh h_{t-1} + b_hh``, each cut in three:
    ``r = sigmoid(a_r + b_r)``, ``z = sigmoid(a_z + b_z)``, ``n = tanh(a_n + r b_n)`` and
    ``h_t = (1 - z) n + z h_{t-1}``.

    Parameters
    ----------
    x : ndarray, shape (time, batch, d_in)
    h0 : ndarray, shape (batch, d_hidden)
        The state before the first step.
    weight_ih, weight_hh : ndarray, shapes (3 d_hidden, d_in), (3 d_hidden, d_hidden)
    bias_ih, bias_hh : ndarray, shape (3 d_hidden,), optional
    lengths : ndarray of int, shape (batch,), optional
        How many positions each sequence has; what comes after them leaves the state as it is.
    reverse : bool
        Read from the last position to the first, ``h_{t+1}`` in the place of ``h_{t-1}``.
    tap : function, optional
        From (name, array, t) to what step t goes on with: shows each step what is made of
        "reset_gate", "update_gate", "candidate" and "hidden", each (time, batch, d_hidden).

    Returns
    -------
    y : ndarray, shape (time, batch, d_hidden)
        The state after each position; 0 where a sequence has ended.
    h : ndarray, shape (time + 1, batch, d_hidden)
        All states, with the first: forwards ``h[t]`` is the one before position t, in reverse the
        one after it.
    gates : ndarray, shape (time, batch, 3 d_hidden)
        r, z and n; 0 where a sequence has ended.
    recalled : ndarray, shape (time, batch, d_hidden)
        ``b_n``, what the reset gate acts on; 0 where a sequence has ended.
    """
    time, batch, d_hidden = x.shape[0], *h0.shape
    there = are_there(lengths, time, batch)
    a = linear_forward(x, weight_ih, bias_ih)  # of all positions in one product
    gates, h = np.zeros_like(a), begin(h0, time, reverse)
    recalled = np.zeros_like(a, shape=(time, batch, d_hidden))
    r_z, candidate = gates[..., : 2 * d_hidden], gates[..., 2 * d_hidden :]
    for t, was, is_now in steps(time, reverse):
        b = linear_forward(h[was], weight_hh, bias_hh)
        recalled[t] = there[t] * b[:, 2 * d_hidden :]
        r_z[t] = there[t] * sigmoid(a[t, :, : 2 * d_hidden] + b[:, : 2 * d_hidden])
        r, z = tapped(tap, GATES, r_z, t)
        candidate[t] = there[t] * np.tanh(a[t, :, 2 * d_hidden :] + r * recalled[t])
        (n,) = tapped(tap, ["candidate"], candidate, t)
        h[is_now] = np.where(there[t], (1.0 - z) * n + z * h[was], h[was])
        tapped(tap, ["hidden"], after(h, reverse), t)
    return np.where(there, after(h, reverse), h.dtype.type(0)), h, gates, recalled


def gru_backward(
    dy: Array, x: Array, weight_ih: Array, weight_hh: Array, h: Array, gates: Array,
    recalled: Array, *, lengths: Array | None = None, reverse: bool = False,
    tap: Tap | None = None, dh_n: Array | None = None,
    dweight_ih: Array | None = None, dweight_hh: Array | None = None,
    dbias_ih: Array | None = None, dbias_hh: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Go back through time, from the last step to the first.

    ``da_n = dh_t (1 - z) (1 - n^2)``, ``da_r = da_n b_n r (1 - r)``,
    ``da_z = dh_t (h_{t-1} - n) z (1 - z)``; ``db_r = da_r``, ``db_z = da_z``, ``db_n = da_n r``;
    ``dh_{t-1} = dy_{t-1} + dh_t z + W_hh^T db_t``.

    Parameters
    ----------
    dy : ndarray, shape (time, batch, d_hidden)
    x, weight_ih, weight_hh, lengths, reverse
        As in forward.
    h, gates, recalled : ndarray
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
    time, batch, d_hidden = x.shape[0], *h.shape[1:]
    there = are_there(lengths, time, batch)
    dhidden, dcandidate = np.zeros_like(dy), np.zeros_like(dy)
    dr_z = np.zeros_like(dy, shape=(time, batch, 2 * d_hidden))
    da, db = np.zeros_like(gates), np.zeros_like(gates)
    dh = of_last(dh_n, h)
    for t, was, _ in steps_back(time, reverse):
        r, z, n = np.split(gates[t], 3, axis=-1)
        dhidden[t] = there[t] * dy[t] + dh
        (dh,) = tapped(tap, ["hidden"], dhidden, t)
        # h_t = (1 - z) n + z h_{t-1}
        dcandidate[t] = dh * (1.0 - z)
        (dn,) = tapped(tap, ["candidate"], dcandidate, t)
        # n = tanh(a_n + r b_n)
        da_n = dn * (1.0 - n * n)
        dr_z[t] = np.concatenate([da_n * recalled[t], dh * (h[was] - n)], axis=-1)
        dr, dz = tapped(tap, GATES, dr_z, t)
        # r and z are sigmoids of a + b
        da_r, da_z = dr * r * (1.0 - r), dz * z * (1.0 - z)
        da[t] = there[t] * np.concatenate([da_r, da_z, da_n], axis=-1)
        db[t] = there[t] * np.concatenate([da_r, da_z, da_n * r], axis=-1)
        dh = np.where(there[t], dh * z, dh) + db[t] @ weight_hh
    dx = linear_backward(da, x, weight_ih, dweight=dweight_ih, dbias=dbias_ih)
    linear_backward(db, before(h, reverse), weight_hh, dweight=dweight_hh, dbias=dbias_hh)
    return dx, dh

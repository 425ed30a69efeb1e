"""Gated recurrent units."""

from npgpt.layers.recurrent import Recurrent


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014, arXiv 1406.1078), in PyTorch's form.

    With ``a = W_ih x_t + b_ih`` and ``b = W_hh h_{t-1} + b_hh``, each cut in three:
    ``r = sigmoid(a_r + b_r)``, ``z = sigmoid(a_z + b_z)``, ``n = tanh(a_n + r b_n)`` and
    ``h_t = (1 - z) n + z h_{t-1}``. The update gate z keeps what is remembered, the reset gate r
    says how much of it makes what is new.

    Parameters
    ----------
    d_in, d_hidden, n_layers, bidirectional, dropout, rng, dtype, bias, seed, init
        As of `RNN`.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        As of `RNN`, each with ``3 * d_hidden`` rows: reset, update, candidate.

    Notes
    -----
    Taps of each layer and direction: ``reset_gate_l0``, ``update_gate_l0``, ``candidate_l0``,
    ``hidden_l0``, as `RNN` has them; and ``output``.
    """

    op = "gru"
    PARTS = 3
    STEP_TAPS = ("reset_gate", "update_gate", "candidate", "hidden")

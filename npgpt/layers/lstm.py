"""Long short-term memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt.fields import check_real
from npgpt.layers.core.init import Init, Rng
from npgpt.layers.recurrent import Recurrent


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, Neural Computation 9(8)).

    With ``a = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh``, cut in four: ``i = sigmoid(a_i)``,
    ``f = sigmoid(a_f)``, ``g = tanh(a_g)``, ``o = sigmoid(a_o)``; ``c_t = f c_{t-1} + i g`` and
    ``h_t = o tanh(c_t)``. The cell is added to, not multiplied with a matrix: while f is near 1,
    what is in it stays, and so does its gradient.

    Parameters
    ----------
    d_in, d_hidden, n_layers, bidirectional, dropout, rng, dtype, bias, seed, init
        As of `RNN`.
    forget_bias : float
        What ``bias_ih`` of the forget gate starts from; 1 lets the cell remember from the
        beginning (Gers, Schmidhuber and Cummins 2000, Neural Computation 12(10); Jozefowicz,
        Zaremba and Sutskever 2015, ICML). Without biases it has no place.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        As of `RNN`, each with ``4 * d_hidden`` rows: input, forget, candidate, output.

    Notes
    -----
    Taps of each layer and direction: ``input_gate_l0``, ``forget_gate_l0``, ``candidate_l0``,
    ``output_gate_l0``, ``cell_l0``, ``hidden_l0``, as `RNN` has them; and ``output``.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> lstm = npgpt.layers.LSTM(3, 4, n_layers=2, rng=0)
    >>> y, state = lstm.forward(np.ones((2, 5, 3), np.float32), lengths=[5, 2])
    >>> dx, dstate = lstm.backward(np.ones_like(y))
    >>> dx.shape, [d.shape for d in dstate], float(abs(y[1, 2:]).max())
    ((2, 5, 3), [(2, 2, 4), (2, 2, 4)], 0.0)
    """

    op = "lstm"
    PARTS = 4
    STATES = 2
    STEP_TAPS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")

    def __init__(
        self,
        d_in: int,
        d_hidden: int,
        n_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        rng: Rng = None,
        dtype: Any = np.float32,
        *,
        forget_bias: float = 1.0,
        bias: bool = True,
        seed: int = 0,
        init: Init | None = None,
    ):
        check_real("LSTM", forget_bias=forget_bias)
        super().__init__(
            d_in, d_hidden, n_layers, bidirectional, dropout, rng, dtype,
            bias=bias, seed=seed, init=init,
        )  # fmt: skip
        if bias:
            for suffix in self.suffixes():
                getattr(self, "bias_ih" + suffix).value[d_hidden : 2 * d_hidden] = forget_bias

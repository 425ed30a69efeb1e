"""Elman's recurrent network."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt.layers.core.init import Init, Rng
from npgpt.layers.recurrent import Recurrent

Array = np.ndarray

NONLINEARITIES = ("tanh", "relu")


class RNN(Recurrent):
    """Elman's recurrent network (Elman 1990, Cognitive Science 14).

    ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``: what has been read is remembered in one
    vector, the hidden state. Names, shapes and order of the weights are those of
    ``torch.nn.RNN``.

    Parameters
    ----------
    d_in, d_hidden : int
    n_layers : int
        Each layer reads the states of the one below.
    bidirectional : bool
        Whether each layer also reads from the end, with weights of its own (Schuster and Paliwal
        1997, IEEE Trans. Signal Processing 45(11)).
    dropout : float
        Probability, of what one layer reads of another.
    rng : numpy.random.Generator or int, optional
        Source of the initial weights, which are even between ``-1/sqrt(d_hidden)`` and
        ``1/sqrt(d_hidden)``. Biases start at 0.
    dtype : dtype
    nonlinearity : {"tanh", "relu"}
    bias : bool
    seed : int
        Of the dropout masks.
    init : Init, optional
        In a model: where weights, dtype and dropout streams come from, in the place of ``rng``,
        ``dtype`` and ``seed``.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (d_hidden, d_in), (d_hidden, d_hidden)
        And ``_l1`` and so on, of shape (d_hidden, directions * d_hidden) and (d_hidden, d_hidden);
        with ``_reverse`` behind, those of the way back.
    bias_ih_l0, bias_hh_l0 : Parameter, shape (d_hidden,), or None

    Raises
    ------
    ValueError
        If a size is below 1, ``dropout`` outside [0, 1), or there is no such nonlinearity.

    Notes
    -----
    Taps: ``hidden_l0`` and so on, (batch, time, d_hidden), and ``output``. A listener sees an array
    after each step, made as far as the steps have come; what it returns at the step's position is
    what the next step reads.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> rnn = npgpt.layers.RNN(3, 4, rng=0)
    >>> y, (h,) = rnn.forward(np.ones((2, 5, 3), np.float32))
    >>> y.shape, h.shape, bool((y[:, -1] == h[0]).all())
    ((2, 5, 4), (1, 2, 4), True)
    """

    op = "rnn"
    PARTS = 1
    STEP_TAPS = ("hidden",)

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
        nonlinearity: str = "tanh",
        bias: bool = True,
        seed: int = 0,
        init: Init | None = None,
    ):
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"RNN: nonlinearity must be one of {', '.join(NONLINEARITIES)}, "
                f"got {nonlinearity!r}."
            )
        super().__init__(
            d_in, d_hidden, n_layers, bidirectional, dropout, rng, dtype,
            bias=bias, seed=seed, init=init,
        )  # fmt: skip
        self.nonlinearity = nonlinearity

    def _options(self, suffix: str, lengths: Array | None) -> dict[str, Any]:
        return {**super()._options(suffix, lengths), "nonlinearity": self.nonlinearity}

"""Language models that remember what they read in a hidden state: RNN, GRU, LSTM."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from npgpt import ops
from npgpt.fields import documented, option
from npgpt.layers import GRU, LSTM, RNN, Init
from npgpt.layers.block_config import MODEL
from npgpt.layers.recurrent import Recurrent
from npgpt.layers.rnn import NONLINEARITIES
from npgpt.layers.states import KeptRows
from npgpt.models.model import checked_ids, register
from npgpt.models.stateful import StatefulModel
from npgpt.models.unbounded import UnboundedConfig


@dataclasses.dataclass(frozen=True)
class RecurrentConfig(UnboundedConfig):
    """Shape of a recurrent language model: that of any `UnboundedConfig`.

    Each layer reads the states of the one below; dropout is for embeddings, between layers, and for
    what the head reads.
    """

    def of_layers(self) -> dict[str, Any]:
        """Return what the recurrent layers have of their own."""
        return {}


class RecurrentLM(StatefulModel):
    """A language model whose memory is the hidden state of recurrent layers.

    Embedding, recurrent layers, head. A sequence may be as long as one likes: the next token costs
    the same after ten tokens and after ten thousand. Its families are `RNNLM`, `GRULM` and
    `LSTMLM`.

    Parameters
    ----------
    config : RecurrentConfig
    seed : int
        Of the initial weights and of the dropout masks.
    dtype : dtype
        float32 to train, float64 to check gradients.
    init : Init, optional
        In the place of ``seed`` and ``dtype``.

    Raises
    ------
    TypeError
        If the class itself is called, and not one of its families.

    Notes
    -----
    ``context_length`` of the config is the length of the windows that are trained on, at whose
    beginning the state is 0, or of the pieces of streams, see `StatefulModel`; reading, the model
    goes on without an end.
    """

    Network: ClassVar[type[Recurrent]]

    def __init__(self, *arguments: Any, **named: Any):
        if type(self) is RecurrentLM:
            raise TypeError(
                "RecurrentLM is what RNNLM, GRULM and LSTMLM share: make one of these, from its "
                "own config."
            )
        super().__init__(*arguments, **named)

    def _make_layers(self, init: Init) -> None:
        config = self.config
        self.network = self.Network(
            config.d_model, config.d_model, config.n_layers, dropout=config.dropout,
            bias=config.bias, init=init, **config.of_layers(),
        )  # fmt: skip
        self.hidden_dropout = init.dropout(config.dropout)

    def hidden_states(self, token_ids) -> np.ndarray:
        """Compute what the head reads, (batch, time) -> (batch, time, d_model)."""
        x = self._embed(checked_ids(token_ids, type(self).__name__))
        y, after = self.network.forward(x, self._before(len(x)))
        self._carry(after)
        return self.tap("hidden", self.hidden_dropout.forward(y))

    def backward_from_hidden(self, dx: np.ndarray) -> None:
        """Send a gradient of the last `hidden_states`, (batch, time, d_model), back."""
        dy = self.hidden_dropout.backward(self.tap_grad("hidden", dx))
        dx, _ = self.network.backward(dy)  # what comes to the states before the batch ends there
        self._embed_backward(dx)

    # --- step by step ---------------------------------------------------------------------------

    def new_states(self, rows: int, capacity: int) -> list[KeptRows]:
        """Make hidden states at 0; see `Generates.new_states`."""
        shape = rows, self.config.n_layers, self.config.d_model
        return [KeptRows(*(np.zeros(shape, self.dtype) for _ in range(self.network.STATES)))]

    def start(self, token_ids, lengths, states, memory=None) -> np.ndarray:
        """Read the beginnings of sequences into fresh states; see `Generates.start`."""
        ended = lengths if lengths.min() < token_ids.shape[1] else None
        with ops.Workspace():
            y, after = self.network.forward(self._embed(token_ids), None, ended)
            hidden = self.tap("hidden", y)[np.arange(len(y)), lengths - 1]
            logits = self._keep_states(hidden, after, states, lengths)
            self.forget()
        return logits

    def step(self, tokens, states) -> np.ndarray:
        """Read one more token of each sequence, (batch,); see `Generates.step`."""
        before = tuple(array.swapaxes(0, 1) for array in states[0].arrays)
        y, after = self.network.forward(self._embed(tokens[:, None]), before)
        hidden = self.tap("hidden", y)[:, 0]
        return self._keep_states(hidden, after, states, states[0].lengths + 1)

    def _keep_states(self, hidden, after, states, lengths) -> np.ndarray:
        (state,) = states
        for array, made in zip(state.arrays, after, strict=True):
            array[...] = made.swapaxes(0, 1)
        state.lengths = lengths
        return self.head.forward(hidden)


@documented
@dataclasses.dataclass(frozen=True)
class RNNConfig(RecurrentConfig):
    """Shape of an `RNNLM`.

    Parameters
    ----------
    nonlinearity : {"tanh", "relu"}
        Of rnn: what its states are made with.
    """

    nonlinearity: str = option(MODEL, default="tanh", choices=NONLINEARITIES)

    def of_layers(self) -> dict[str, Any]:
        """Return what the recurrent layers have of their own."""
        return {"nonlinearity": self.nonlinearity}


@dataclasses.dataclass(frozen=True)
class GRUConfig(RecurrentConfig):
    """Shape of a `GRULM`: that of any `RecurrentConfig`."""


@documented
@dataclasses.dataclass(frozen=True)
class LSTMConfig(RecurrentConfig):
    """Shape of an `LSTMLM`.

    Parameters
    ----------
    forget_bias : float
        Of lstm: where the forget gates' bias starts.
    """

    forget_bias: float = option(MODEL, default=1.0)

    def of_layers(self) -> dict[str, Any]:
        """Return what the recurrent layers have of their own."""
        return {"forget_bias": self.forget_bias}


@register
class RNNLM(RecurrentLM):
    """A `RecurrentLM` of Elman's networks (Mikolov et al. 2010, Interspeech)."""

    kind = "rnn"
    Config = RNNConfig
    Network = RNN


@register
class GRULM(RecurrentLM):
    """A `RecurrentLM` of gated recurrent units."""

    kind = "gru"
    Config = GRUConfig
    Network = GRU


@register
class LSTMLM(RecurrentLM):
    """A `RecurrentLM` of LSTMs (Sundermeyer, Schlueter and Ney 2012, Interspeech).

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> config = npgpt.models.LSTMConfig(vocab_size=11, context_length=8, n_layers=2, d_model=4)
    >>> model = npgpt.models.LSTMLM(config)
    >>> loss = model.loss_and_backward(np.ones((2, 8), int), np.ones((2, 8), int))
    >>> model.generate([1, 2], max_new_tokens=20, seed=0).shape
    (22,)
    """

    kind = "lstm"
    Config = LSTMConfig
    Network = LSTM
    STATE_NAMES = ("h", "c")

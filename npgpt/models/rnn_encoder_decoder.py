"""Two recurrent networks that translate, with one vector between them."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any, ClassVar

import numpy as np

from npgpt.fields import documented, option
from npgpt.generation.translates import Encoded
from npgpt.layers import (
    GRU,
    LSTM,
    RNN,
    CrossEntropy,
    FlatParameters,
    Init,
    OutputHead,
)
from npgpt.layers.block_config import MODEL, check_config
from npgpt.layers.recurrent import Recurrent, States
from npgpt.layers.states import KeptRows, WithMemory
from npgpt.models.model import register
from npgpt.models.sequence_to_sequence import SequenceToSequence, SequenceToSequenceConfig
from npgpt.models.token_input import TokenInput
from npgpt.ops.array import Array

CELLS: dict[str, type[Recurrent]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


@documented
@dataclasses.dataclass(frozen=True)
class RNNEncoderDecoderConfig(SequenceToSequenceConfig):
    """Shape of an `RNNEncoderDecoder`.

    Parameters
    ----------
    n_layers : int
        Layers on each other, of encoder and of decoder.
    d_model : int
        Width of embeddings and states.
    dropout : float
        Probability, for embeddings, between layers, and for what the head reads.
    bias : bool
        Biases of the layers.
    cell : {"lstm", "gru", "rnn"}
        What both networks are made of.
    bidirectional : bool
        Whether the encoder also reads from the end. Each direction then has half of the width, so
        that both together are as wide as the decoder.
    reverse_source : bool
        Whether the encoder is given the source from its end to its beginning, so that the first
        words of both sides are near each other (Sutskever et al. 2014, section 3.3).

    Raises
    ------
    ValueError
        If a value is out of range, or choices do not fit each other; the message holds the rule.
    """

    n_layers: int = option(MODEL, names=("--n-layers", "--layers"), minimum=1)
    d_model: int = option(MODEL, minimum=1)
    dropout: float = option(MODEL, default=0.0)
    bias: bool = option(MODEL, default=True)
    _: dataclasses.KW_ONLY
    cell: str = option(MODEL, default="lstm", choices=CELLS)
    bidirectional: bool = option(MODEL, default=False)
    reverse_source: bool = option(MODEL, default=False)

    def __post_init__(self) -> None:
        self.check_pairs()
        who = type(self).__name__
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"{who}: dropout must be at least 0 and below 1, got {self.dropout}.")
        if self.bidirectional and self.d_model % 2:
            raise ValueError(
                f"{who}: each direction of a bidirectional encoder has half of d_model, which must "
                f"be even, got {self.d_model}."
            )


@register
class RNNEncoderDecoder(SequenceToSequence):
    """An encoder squeezes the source into its last state, from which a decoder writes the target.

    The decoder's network begins with the states in which the encoder's ended, layer by layer
    (Sutskever, Vinyals and Le 2014, arXiv 1409.3215; Cho et al. 2014, arXiv 1406.1078, whose
    decoder also reads the vector at every step, which this one does not). However long a source is,
    one vector holds all of it.

    Parameters
    ----------
    config : RNNEncoderDecoderConfig
    seed : int
        Of the initial weights and of the dropout masks.
    dtype : dtype
        float32 to train, float64 to check gradients.
    init : Init, optional
        In the place of ``seed`` and ``dtype``.

    Notes
    -----
    Taps: ``hidden``, what the head reads, (batch, time, d_model).

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> config = npgpt.models.RNNEncoderDecoderConfig(11, 8, n_layers=2, d_model=4)
    >>> model = npgpt.models.RNNEncoderDecoder(config)
    >>> sources, lengths = np.array([[5, 6, 7], [8, 9, 0]]), np.array([3, 2])
    >>> model.forward(sources, lengths, np.array([[1, 3], [1, 4]])).shape
    (2, 2, 11)
    >>> ((best,),) = model.translate([5, 6, 7], start_id=1, end_id=2, max_new_tokens=4)
    >>> best.token_ids.size <= 4
    True
    """

    TAPS = ("hidden",)

    kind = "rnn-encoder-decoder"
    name_with_pairs = "rnn"
    Config: ClassVar[Any] = RNNEncoderDecoderConfig

    def __init__(
        self, config: Any, seed: int = 0, dtype: Any = np.float32, init: Init | None = None
    ):
        super().__init__()
        check_config(config, self, self.Config)
        init = init or Init(seed, dtype)
        self.config, self.seed, self.dtype = config, init.seed, init.dtype
        d = config.d_model
        source, target = self._embeddings(1.0 / math.sqrt(d), init)
        self.source = TokenInput(source, init.dropout(config.dropout))
        self.target = TokenInput(target, init.dropout(config.dropout))
        cell, choices = CELLS[config.cell], {"bias": config.bias, "dropout": config.dropout}
        self.encoder: Recurrent = cell(
            d, d // 2 if config.bidirectional else d, config.n_layers, config.bidirectional,
            init=init, **choices,
        )  # fmt: skip
        self.decoder: Recurrent = cell(d, d, config.n_layers, init=init, **choices)
        self._make_attention(init)
        self.hidden_dropout = init.dropout(config.dropout)
        tied_to = target.weight if config.tie_embeddings else None
        self.head = OutputHead(d, config.vocab_size, tied_to, init.rng, init.dtype)
        self.cross_entropy = CrossEntropy(label_smoothing=config.label_smoothing)
        self.assign_names()
        FlatParameters(self.parameters())

    def _make_attention(self, init: Init) -> None:
        """Make what looks back at the source; here nothing does."""

    def encode(self, source_ids: Array, source_lengths: Array) -> Encoded:
        """Read sources; see `SequenceToSequence.encode`."""
        if self.config.reverse_source:
            source_ids = reversed_rows(source_ids, source_lengths)
        x = self.source.forward(source_ids)
        values, states = self.encoder.forward(x, None, source_lengths)
        return Encoded(values, source_lengths, self._side_by_side(states))

    def decode(self, target_ids: Array, encoded: Encoded) -> Array:
        """Compute what the head reads; see `SequenceToSequence.decode`."""
        h, _ = self.decoder.forward(self.target.forward(target_ids), encoded.states)
        return self._read(h, encoded.values, encoded.lengths)

    def _read(self, h: Array, values: Array, lengths: Array, keys: Array | None = None) -> Array:
        """Compute what the head reads of the decoder's states; here the states themselves."""
        self.keep(values)
        return self.tap("hidden", self.hidden_dropout.forward(h))

    def backward_from_hidden(self, dx: Array) -> None:
        """Send a gradient of the last `hidden_states`, (batch, time, d_model), back."""
        dh, dvalues = self._read_backward(self.tap_grad("hidden", dx))
        dx, dstates = self.decoder.backward(dh)
        self.target.backward(dx)
        dx, _ = self.encoder.backward(dvalues, self._one_by_one(dstates))
        self.source.backward(dx)

    def _read_backward(self, dx: Array) -> tuple[Array, Array]:
        """Undo `_read`: the gradients of the decoder's states and of the encoder's."""
        return self.hidden_dropout.backward(dx), np.zeros_like(self.recall())

    # --- the last states of two directions are one of the decoder's -------------------------------

    def _side_by_side(self, states: States) -> States:
        if not self.config.bidirectional:
            return states
        shape = self.config.n_layers, 2, -1, self.config.d_model // 2
        pairs = (array.reshape(shape).swapaxes(1, 2) for array in states)
        return tuple(pair.reshape(*pair.shape[:2], self.config.d_model) for pair in pairs)

    def _one_by_one(self, states: States) -> States:
        """Mirror `_side_by_side`: (layers, batch, d_model) -> (2 layers, batch, d_model / 2)."""
        if not self.config.bidirectional:
            return states
        half = self.config.d_model // 2
        pairs = (array.reshape(*array.shape[:2], 2, half).swapaxes(1, 2) for array in states)
        return tuple(pair.reshape(-1, *pair.shape[2:]) for pair in pairs)

    # --- step by step ---------------------------------------------------------------------------

    @property
    def context_length(self) -> int:
        """How many tokens may be read: there is no end."""
        return sys.maxsize

    def new_states(self, rows: int, capacity: int) -> list[WithMemory]:
        """Make hidden states at 0, without a memory; see `Steps.new_states`."""
        shape = rows, self.config.n_layers, self.config.d_model
        states = [np.zeros(shape, self.dtype) for _ in range(self.decoder.STATES)]
        return [WithMemory(KeptRows(*states))]

    def start(self, token_ids, lengths, states, memory=None) -> Array:
        """Read the beginnings of targets; see `Steps.start`.

        Parameters
        ----------
        token_ids, lengths, states
            As of `Steps.start`.
        memory : Encoded
            Of each target's source.
        """
        (state,) = states
        h, after = self.decoder.forward(self.target.forward(token_ids), memory.states, lengths)
        state.memory = memory.values, memory.lengths, *self._keys_of(memory.values)
        self._keep_states(after, state, lengths)
        return self._logits(h[np.arange(len(h)), lengths - 1][:, None], state)

    def step(self, tokens, states) -> Array:
        """Read one more token of each target, (batch,); see `Steps.step`."""
        (state,) = states
        before = tuple(array.swapaxes(0, 1) for array in state.own.arrays)
        h, after = self.decoder.forward(self.target.step(tokens, state.lengths), before)
        self._keep_states(after, state, state.lengths + 1)
        return self._logits(h, state)

    def _keys_of(self, values: Array) -> tuple[Array, ...]:
        return ()

    def _keep_states(self, after: States, state: WithMemory, lengths: Array) -> None:
        assert isinstance(state.own, KeptRows)
        for array, made in zip(state.own.arrays, after, strict=True):
            array[...] = made.swapaxes(0, 1)
        state.lengths = lengths

    def _logits(self, h: Array, state: WithMemory) -> Array:
        return self.head.forward(self._read(h, *state.memory))[:, 0]


def reversed_rows(ids: Array, lengths: Array) -> Array:
    """Turn each row round up to its length.

    Parameters
    ----------
    ids : ndarray of int, shape (batch, time)
    lengths : ndarray of int, shape (batch,)

    Examples
    --------
    >>> reversed_rows(np.array([[1, 2, 3], [4, 5, 0]]), np.array([3, 2]))
    array([[3, 2, 1],
           [5, 4, 0]])
    """
    places = np.arange(ids.shape[1])
    ends = lengths[:, None]
    return np.take_along_axis(ids, np.where(places < ends, ends - 1 - places, places), axis=1)

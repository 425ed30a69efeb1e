"""A language model of causal convolutions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from npgpt import ops
from npgpt.fields import documented, option
from npgpt.layers import GatedConv1d, Init
from npgpt.layers.block_config import MODEL
from npgpt.layers.dropout import Dropout
from npgpt.layers.states import KeptRows
from npgpt.models.model import checked_ids, register
from npgpt.models.unbounded import UnboundedConfig, UnboundedModel


@documented
@dataclasses.dataclass(frozen=True)
class ConvolutionalConfig(UnboundedConfig):
    """Shape of a `ConvolutionalLM`.

    Each of its layers looks twice as far apart as the one below; dropout is for embeddings and for
    what each layer adds.

    Parameters
    ----------
    kernel : int
        Of conv: positions that a convolution reads.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    kernel: int = option(MODEL, default=4, minimum=1)

    @property
    def receptive_field(self) -> int:
        """How many tokens a prediction depends on."""
        return 1 + (self.kernel - 1) * (2**self.n_layers - 1)


@register
class ConvolutionalLM(UnboundedModel):
    """Gated convolutions on each other, with shortcuts (Dauphin et al. 2017, arXiv 1612.08083).

    ``x = x + dropout(value * sigmoid(gate))`` in each layer, where value and gate are causal
    convolutions of ``x``, the first of neighbours, the next of every second position, of every
    fourth (van den Oord et al. 2016, arXiv 1609.03499).

    Parameters
    ----------
    config : ConvolutionalConfig
    seed : int
        Of the initial weights and of the dropout masks.
    dtype : dtype
        float32 to train, float64 to check gradients.
    init : Init, optional
        In the place of ``seed`` and ``dtype``.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> config = npgpt.models.ConvolutionalConfig(11, 8, n_layers=3, d_model=4)
    >>> config.receptive_field
    22
    >>> model = npgpt.models.ConvolutionalLM(config)
    >>> model.generate([1, 2], max_new_tokens=20, seed=0).shape
    (22,)
    """

    kind = "conv"
    Config = ConvolutionalConfig

    def _make_layers(self, init: Init) -> None:
        d, config = self.config.d_model, self.config
        self.convolutions: list[GatedConv1d] = [
            GatedConv1d(d, d, config.kernel, 2**layer, config.bias, init.rng, init.dtype)
            for layer in range(config.n_layers)
        ]
        self.dropouts: list[Dropout] = [init.dropout(config.dropout) for _ in self.convolutions]
        sums = [f"residual_l{layer}" for layer in range(config.n_layers)]
        self.TAPS = ("embeddings", *sums, "hidden")

    def hidden_states(self, token_ids) -> np.ndarray:
        """Compute what the head reads, (batch, time) -> (batch, time, d_model)."""
        x = self._embed(checked_ids(token_ids, type(self).__name__))
        for layer, (convolution, dropout) in enumerate(self._layers()):
            x = self.tap(f"residual_l{layer}", dropout.forward_add(x, convolution.forward(x)))
        return self.tap("hidden", x)

    def backward_from_hidden(self, dx: np.ndarray) -> None:
        """Send a gradient of the last `hidden_states`, (batch, time, d_model), back."""
        dx = self.tap_grad("hidden", dx)
        for layer, (convolution, dropout) in reversed([*enumerate(self._layers())]):
            dx = self.tap_grad(f"residual_l{layer}", dx)
            dx = ops.add(dx, convolution.backward(dropout.backward(dx)))
        self._embed_backward(dx)

    def _layers(self) -> Iterator[tuple[GatedConv1d, Dropout]]:
        return zip(self.convolutions, self.dropouts, strict=True)

    # --- step by step ---------------------------------------------------------------------------

    def new_states(self, rows: int, capacity: int) -> list[KeptRows]:
        """Make room for the last inputs of each layer; see `Generates.new_states`.

        Position ``t`` is kept at ``t`` modulo the number of positions that are kept.
        """
        befores = [convolution.conv.receptive_field - 1 for convolution in self.convolutions]
        d = self.config.d_model
        return [KeptRows(*(np.zeros((rows, max(1, before), d), self.dtype) for before in befores))]

    def start(self, token_ids, lengths, states, memory=None) -> np.ndarray:
        """Read the beginnings of sequences into fresh states; see `Generates.start`."""
        (state,) = states
        x, rows = self._embed(token_ids), np.arange(len(lengths))
        for layer, (convolution, kept) in enumerate(self._kept_of(state)):
            size = kept.shape[1]
            places = lengths[:, None] - np.arange(size, 0, -1)  # (batch, size): the last ones
            read = x[rows[:, None], np.maximum(places, 0)]
            kept[rows[:, None], places % size] = np.where((places >= 0)[..., None], read, 0.0)
            x = self.tap(f"residual_l{layer}", x + convolution.forward(x))
        logits = self.head.forward(self.tap("hidden", x)[rows, lengths - 1])
        self.forget()
        state.lengths = lengths
        return logits

    def step(self, tokens, states) -> np.ndarray:
        """Read one more token of each sequence, (batch,); see `Generates.step`."""
        (state,) = states
        x, rows = self._embed(tokens[:, None]), np.arange(len(tokens))  # (batch, 1, d_model)
        for layer, (convolution, kept) in enumerate(self._kept_of(state)):
            conv, size = convolution.conv, kept.shape[1]
            distances = conv.dilation * np.arange(conv.kernel - 1, 0, -1)
            places = state.lengths[:, None] - distances  # below 0 there are zeros still
            read = np.concatenate([kept[rows[:, None], places % size], x], axis=1)
            kept[rows, state.lengths % size] = x[:, 0]
            x = self.tap(f"residual_l{layer}", x + convolution.forward_last(read))
        state.lengths = state.lengths + 1
        return self.head.forward(self.tap("hidden", x))[:, 0]

    def _kept_of(self, state: KeptRows) -> Iterator[tuple[GatedConv1d, np.ndarray]]:
        return zip(self.convolutions, state.arrays, strict=True)

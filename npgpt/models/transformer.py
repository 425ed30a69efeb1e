"""The Transformer: an encoder and a decoder of attention alone."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any, ClassVar, cast

import numpy as np

from npgpt import ops
from npgpt.fields import documented, option
from npgpt.generation.translates import Encoded
from npgpt.layers import (
    ACTIVATIONS,
    NORM_POSITIONS,
    BlockConfig,
    CrossEntropy,
    FlatParameters,
    Init,
    OutputHead,
    PositionEmbedding,
    SinusoidalEmbedding,
    Stack,
)
from npgpt.layers.block_config import ARCHITECTURE, MODEL, POSITIONS, check_config
from npgpt.layers.core.init import INITIAL_STD
from npgpt.models.model import register
from npgpt.models.pretrained import Pretrained
from npgpt.models.sequence_to_sequence import SequenceToSequence, SequenceToSequenceConfig
from npgpt.models.token_input import TokenInput
from npgpt.ops import Mask
from npgpt.ops.array import Array

SINUSOIDS = ("pairs", "halves")  # how sines and cosines stand beside each other


@documented
@dataclasses.dataclass(frozen=True)
class TransformerConfig(BlockConfig, SequenceToSequenceConfig):
    """Shape and choices of a `Transformer`; by default those of Vaswani et al. 2017.

    Parameters
    ----------
    n_encoder_layers : int, optional
        Blocks of the encoder.
    scale_embeddings : bool
        Multiply embeddings by the square root of d_model.
    ends_with_norm : bool, optional
        Whether encoder and decoder end with one more norm.
    sinusoids : {"pairs", "halves"}
        Of sinusoidal positions: sine and cosine by turns, as large as the embeddings (pairs), or as
        in MarianMT all sines first, of size 1 and rounded to float32 (halves).
    head_bias : bool
        Whether the logit of each token has a number of its own added.

    Raises
    ------
    ValueError
        If a value is out of range, or choices do not fit each other; the message holds the rule.
    """

    _: dataclasses.KW_ONLY
    n_encoder_layers: int | None = option(
        MODEL, default=None, minimum=1, shown_default="as the decoder's, --n-layers"
    )
    scale_embeddings: bool = option(ARCHITECTURE, default=True)
    ends_with_norm: bool | None = option(
        ARCHITECTURE, default=None, shown_default="with --norm-position pre"
    )
    sinusoids: str = option(ARCHITECTURE, default="pairs", choices=SINUSOIDS)
    head_bias: bool = option(ARCHITECTURE, default=False)
    position: str = option(ARCHITECTURE, default="sinusoidal", choices=POSITIONS)
    norm_position: str = option(ARCHITECTURE, default="post", choices=NORM_POSITIONS)
    activation: str = option(ARCHITECTURE, default="relu", choices=ACTIVATIONS)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_pairs()

    @property
    def initial_std(self) -> float:
        """Standard deviation of the start of the blocks' maps: ``1 / sqrt(d_model)``.

        That of Glorot and Bengio 2010 (AISTATS, eq. 16) for a square map, as implementations of the
        paper begin. GPT-2's 0.02 is as large at a width of 2,500; in narrow models the attention to
        the source would begin as an average, and stay one for long.
        """
        return 1.0 / math.sqrt(self.d_model)

    @property
    def num_encoder_layers(self) -> int:
        """``n_encoder_layers``, or what stands for it when it is None."""
        return self.n_encoder_layers or self.n_layers

    @property
    def final_norm(self) -> str:
        """Which norm stands behind the blocks of encoder and decoder."""
        if self.ends_with_norm is None:
            return super().final_norm
        return self.norm if self.ends_with_norm else "none"

    def encoder(self) -> EncoderConfig:
        """Return the config of the encoder's blocks, which read both ways."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["n_layers"] = self.num_encoder_layers
        return EncoderConfig(**fields)


@dataclasses.dataclass(frozen=True)
class EncoderConfig(TransformerConfig):
    """Shape of the encoder of a `Transformer`, whose positions see what comes after them too."""

    causal: ClassVar[bool] = False


@register
class Transformer(SequenceToSequence, Pretrained):
    """Encoder and decoder of attention (Vaswani et al. 2017, arXiv 1706.03762).

    The encoder's positions see each other. The decoder's see themselves and those before, and, in
    each block, all that the encoder made. No state is handed from step to step, so that all
    positions are computed at once.

    Parameters
    ----------
    config : TransformerConfig
    seed : int
        Of the initial weights and of the dropout masks.
    dtype : dtype
        float32 to train, float64 to check gradients.
    recompute : bool
        As for `GPT`.
    init : Init, optional
        In the place of ``seed`` and ``dtype``.

    Notes
    -----
    With ``scale_embeddings`` the tables start with standard deviation ``1 / sqrt(d_model)``: what
    the blocks read then has one of 1, as sines and cosines nearly have, and so have the logits of a
    tied head. The blocks' maps start with ``1 / sqrt(d_model)`` too, those that write to the
    residual stream with that over ``sqrt(2 n_layers)``.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> config = npgpt.models.TransformerConfig(11, 8, n_layers=2, n_heads=2, d_model=4)
    >>> model = npgpt.models.Transformer(config)
    >>> sources, lengths = np.array([[5, 6, 7], [8, 9, 0]]), np.array([3, 2])
    >>> model.forward(sources, lengths, np.array([[1, 3], [1, 4]])).shape
    (2, 2, 11)
    >>> found = model.translate([[5, 6, 7], [8, 9]], start_id=1, end_id=2, max_new_tokens=4,
    ...                         alignments=True)
    >>> [of_one[0].alignment.shape[1] for of_one in found]
    [3, 2]
    """

    kind = "transformer"
    Config: ClassVar[Any] = TransformerConfig

    def __init__(
        self,
        config: TransformerConfig,
        seed: int = 0,
        dtype: Any = np.float32,
        recompute: bool = False,
        init: Init | None = None,
    ):
        super().__init__()
        check_config(config, self, TransformerConfig)
        init = init or Init(seed, dtype)
        self.config, self.seed, self.dtype = config, init.seed, init.dtype
        d = config.d_model
        std = 1.0 / math.sqrt(d) if config.scale_embeddings else INITIAL_STD
        scale = math.sqrt(d) if config.scale_embeddings else 1.0
        source, target = self._embeddings(std, init)
        self.source, self.target = (
            TokenInput(
                embedding, init.dropout(config.dropout), scale, self._positions(std * scale, init)
            )
            for embedding in (source, target)
        )
        self.encoder = Stack(config.encoder(), init, recompute=recompute)
        self.decoder = Stack(config, init, cross=True, recompute=recompute)
        tied_to = target.weight if config.tie_embeddings else None
        self.head = OutputHead(
            d, config.vocab_size, tied_to, init.rng, init.dtype, config.head_bias
        )
        self.cross_entropy = CrossEntropy(label_smoothing=config.label_smoothing)
        self.assign_names()
        FlatParameters(self.parameters())

    def _positions(self, size: float, init: Init) -> PositionEmbedding | SinusoidalEmbedding | None:
        """Make what is added to embeddings of a size; None for positions inside attention."""
        config = self.config
        if config.position == "learned":
            shape = config.context_length, config.d_model
            return PositionEmbedding(*shape, size, init.rng, init.dtype)
        if config.position == "sinusoidal":
            halves = config.sinusoids == "halves"
            return SinusoidalEmbedding(config.d_model, 1.0 if halves else size, halves)
        return None

    def encode(self, source_ids: Array, source_lengths: Array) -> Encoded:
        """Read sources; see `SequenceToSequence.encode`."""
        there = Mask(False, self.config.window, source_lengths)
        x = self.source.forward(source_ids)
        return Encoded(self.encoder.forward(x, mask=there), source_lengths)

    def decode(self, target_ids: Array, encoded: Encoded) -> Array:
        """Compute what the head reads; see `SequenceToSequence.decode`.

        What fills up a target stands behind it, where no position of it looks.
        """
        x, there = self.target.forward(target_ids), Mask(False, lengths=encoded.lengths)
        return self.decoder.forward(x, encoded.values, memory_mask=there)

    def backward_from_hidden(self, dx: Array) -> None:
        """Send a gradient of the last `hidden_states`, (batch, time, d_model), back."""
        dx, dmemory = self.decoder.backward(dx)
        self.target.backward(dx)
        self.source.backward(cast(Array, self.encoder.backward(dmemory)))

    # --- step by step ---------------------------------------------------------------------------

    @property
    def reads_in_steps(self) -> bool:
        """Whether `start` and `step` give what the whole target at once does."""
        parts = self.target, self.decoder, self.head
        return all(layer.IN_STEPS for part in parts for layer in part.layers())

    @property
    def context_length(self) -> int:
        """How many tokens of a target may be read: no end but that of learned positions."""
        return self.config.context_length if self.config.position == "learned" else sys.maxsize

    def new_states(self, rows: int, capacity: int) -> list[Any]:
        """Make empty caches of keys and values, one a block; see `Steps.new_states`."""
        return self.decoder.new_states(rows, capacity, self.dtype)

    def start(self, token_ids, lengths, states, memory=None) -> Array:
        """Read the beginnings of targets; see `Steps.start`.

        Parameters
        ----------
        token_ids, lengths, states
            As of `Steps.start`.
        memory : Encoded
            Of each target's source.
        """
        x, there = self.target.forward(token_ids), Mask(False, lengths=memory.lengths)
        with ops.Workspace():
            x = self.decoder.forward(x, memory.values, memory_mask=there, states=states)
            logits = self.head.forward(x[np.arange(len(x)), lengths - 1])
        self.forget()
        for state in states:
            state.lengths = lengths
        return logits

    def step(self, tokens, states) -> Array:
        """Read one more token of each target, (batch,); see `Steps.step`."""
        x = self.target.step(tokens, states[0].lengths)
        return self.head.forward(self.decoder.forward(x, states=states))[:, 0]

    def alignment_taps(self) -> list[str]:
        """List the taps whose weights tell where the decoder looks: the last block's."""
        attention = self.decoder.blocks[-1].cross_attention
        return [] if attention is None else [f"{attention.name}.weights"]

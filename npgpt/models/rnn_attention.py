"""A recurrent network that translates, looking back at every position of the source."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from npgpt.fields import documented, option
from npgpt.layers import (
    AdditiveAttention,
    ConcatAttention,
    DotAttention,
    GeneralAttention,
    Init,
    Linear,
)
from npgpt.layers.block_config import MODEL
from npgpt.layers.sequence_attention import SequenceAttention
from npgpt.models.model import register
from npgpt.models.rnn_encoder_decoder import RNNEncoderDecoder, RNNEncoderDecoderConfig
from npgpt.ops.array import Array

SCORES = ("additive", "dot", "general", "concat")


@documented
@dataclasses.dataclass(frozen=True)
class RNNAttentionConfig(RNNEncoderDecoderConfig):
    """Shape of an `RNNAttention`.

    Parameters
    ----------
    score : {"additive", "dot", "general", "concat"}
        What tells how much a state of the decoder has to do with one of the encoder.
    """

    bidirectional: bool = option(MODEL, default=True)
    score: str = option(MODEL, default="additive", choices=SCORES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reverse_source:
            raise ValueError(
                f"{type(self).__name__}: reverse_source brings near what one vector would forget; "
                "attention sees each position, so leave it out."
            )


@register
class RNNAttention(RNNEncoderDecoder):
    """A decoder that looks back at every state of the encoder, anew for each word that it writes.

    ``context_t = sum_s weights_ts encoder_s`` and ``hidden_t = tanh(W_c context_t + W_h h_t)``,
    from which the next word is predicted (Luong, Pham and Manning 2015, arXiv 1508.04025, sec. 3.1
    and eq. 5, global attention; without feeding ``hidden_t`` to the next step, so that all steps of
    a target are one pass). The scores are theirs, or the additive ones of Bahdanau, Cho and Bengio
    2015 (arXiv 1409.0473), whose bidirectional encoder it has; there the context enters the
    decoder's cell, which looks back with the state before.

    Parameters
    ----------
    config : RNNAttentionConfig
    seed : int
        Of the initial weights and of the dropout masks.
    dtype : dtype
        float32 to train, float64 to check gradients.
    init : Init, optional
        In the place of ``seed`` and ``dtype``.

    Notes
    -----
    Taps: those of ``attention``, see `AdditiveAttention`, and ``hidden``.

    Examples
    --------
    >>> import npgpt
    >>> config = npgpt.models.RNNAttentionConfig(11, 8, n_layers=1, d_model=4, score="dot")
    >>> model = npgpt.models.RNNAttention(config)
    >>> found = model.translate([[5, 6, 7], [8, 9]], start_id=1, end_id=2, max_new_tokens=4,
    ...                         num_beams=3, num_best=2, alignments=True)
    >>> [len(of_one) for of_one in found], found[1][0].alignment.shape[1]
    ([2, 2], 2)
    """

    kind = "rnn-attention"
    name_with_pairs = "rnn-attention"
    Config: ClassVar[Any] = RNNAttentionConfig

    def _make_attention(self, init: Init) -> None:
        d, more = self.config.d_model, {"rng": init.rng, "dtype": init.dtype}
        self.attention: SequenceAttention = {
            "additive": lambda: AdditiveAttention(d, d, d, **more),
            "dot": lambda: DotAttention(d),
            "general": lambda: GeneralAttention(d, d, **more),
            "concat": lambda: ConcatAttention(d, d, d, **more),
        }[self.config.score]()
        std = 1.0 / math.sqrt(2 * d)
        self.combine = Linear(2 * d, d, self.config.bias, std, **more)

    def _read(self, h: Array, values: Array, lengths: Array, keys: Array | None = None) -> Array:
        context = self.attention.forward(h, values, lengths, keys)
        hidden = np.tanh(self.combine.forward(np.concatenate([context, h], axis=-1)))
        self.keep(hidden)
        return self.tap("hidden", self.hidden_dropout.forward(hidden))

    def _read_backward(self, dx: Array) -> tuple[Array, Array]:
        hidden = self.recall()
        dhidden = self.hidden_dropout.backward(dx)
        dboth = self.combine.backward(dhidden * (1.0 - hidden * hidden))
        dcontext, dh = np.split(dboth, 2, axis=-1)
        dqueries, dvalues = self.attention.backward(dcontext)
        return dh + dqueries, dvalues

    def _keys_of(self, values: Array) -> tuple[Array, ...]:
        return (self.attention.keys_of(values),)

    def alignment_taps(self) -> list[str]:
        """List the taps whose weights tell where the decoder looks."""
        return [f"{self.attention.name}.weights"]

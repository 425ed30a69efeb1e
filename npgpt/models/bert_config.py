"""The shape of a BERT."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from npgpt.fields import documented, option
from npgpt.layers.activations import ACTIVATIONS
from npgpt.layers.block_config import ARCHITECTURE, MODEL, NORM_POSITIONS, BlockConfig
from npgpt.models.model import ModelConfig

# Devlin et al. 2018, section 3; the vocabulary is that of the uncased models
BERT_SIZES = {
    "base": {"n_layers": 12, "n_heads": 12, "d_model": 768},
    "large": {"n_layers": 24, "n_heads": 16, "d_model": 1024},
}


@documented
@dataclasses.dataclass(frozen=True)
class BertConfig(BlockConfig, ModelConfig):
    """Shape and choices of a BERT; those of a block have BERT's own defaults.

    Parameters
    ----------
    n_segments : int
        Kinds of segments, such as the first and the second of two sentences.
    tie_embeddings : bool
        Whether the head for masked words reads the token embedding's table.
    masked_head : bool
        Whether there is a head for masked words.
    pooler : bool
        Whether there is a `Pooler`, which classifiers read.
    next_sentence : bool
        Whether there is a head that tells if the second segment follows the first; it reads the
        pooler.

    Raises
    ------
    ValueError
        If a value is out of range, or choices do not fit each other; the message holds the rule.

    Examples
    --------
    >>> BertConfig.bert("base").d_model
    768
    """

    causal: ClassVar[bool] = False

    _: dataclasses.KW_ONLY
    layer_norm_eps: float = option(ARCHITECTURE, default=1e-12)
    norm_position: str = option(ARCHITECTURE, default="post", choices=NORM_POSITIONS)
    activation: str = option(ARCHITECTURE, default="gelu_exact", choices=ACTIVATIONS)
    n_segments: int = option(ARCHITECTURE, default=2, minimum=1)
    tie_embeddings: bool = option(MODEL, default=True)
    masked_head: bool = True
    pooler: bool = False
    next_sentence: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.next_sentence and not self.pooler:
            raise self._refused("next_sentence reads the pooler, so it needs pooler=True.")

    @property
    def max_length(self) -> int | None:
        """Tokens of the longest sequence that forward takes; None where positions have no end."""
        return self.context_length if self.position == "learned" else None

    @classmethod
    def bert(cls, size: str = "base", **changes: Any) -> BertConfig:
        """Return the shape of a released BERT (vocabulary 30,522, context 512, dropout 0.1).

        Parameters
        ----------
        size : {"base", "large"}
        **changes
            Fields that differ, such as ``dropout=0.0``.
        """
        if size not in BERT_SIZES:
            raise ValueError(
                f"BertConfig.bert: size must be one of {', '.join(BERT_SIZES)}, got {size!r}."
            )
        shape = {"vocab_size": 30522, "context_length": 512, "dropout": 0.1, **BERT_SIZES[size]}
        return cls(**{**shape, **changes})

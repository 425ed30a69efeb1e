"""The shape of a GPT."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from npgpt.fields import from_fields
from npgpt.layers import ACTIVATIONS, NORM_POSITIONS, NORMS
from npgpt.layers.activations import default_d_ff
from npgpt.layers.attention import check_heads
from npgpt.models.positions import POSITIONS

# Radford et al. 2019, table 2; the sizes by the parameter counts that the released models have.
GPT2_SIZES = {
    "124M": {"n_layers": 12, "n_heads": 12, "d_model": 768},
    "355M": {"n_layers": 24, "n_heads": 16, "d_model": 1024},
    "774M": {"n_layers": 36, "n_heads": 20, "d_model": 1280},
    "1558M": {"n_layers": 48, "n_heads": 25, "d_model": 1600},
}


@dataclasses.dataclass(frozen=True)
class GPTConfig:
    """Shape and choices of a GPT.

    Parameters
    ----------
    vocab_size : int
        Number of tokens.
    context_length : int
        Longest sequence.
    n_layers : int
        Number of Transformer blocks.
    n_heads : int
        Attention heads a block; must divide ``d_model``.
    d_model : int
        Width of the residual stream.
    d_ff : int, optional
        Width of the feed-forward layer; when None ``4 * d_model``, and with SwiGLU two thirds of
        it, rounded up to a multiple of 8.
    dropout : float
        Probability, for embeddings, attention weights and both branches of a block.
    bias : bool
        Whether linear maps and layer norms have biases.
    tie_embeddings : bool
        Whether the output head is the token embedding's table.
    position : {"learned", "sinusoidal", "t5", "alibi", "rope", "none"}
        How positions enter the model: a learned or a sinusoidal row added to the embedding; a bias
        added to the scores by distance, learned (T5) or fixed (ALiBi); queries and keys that turn
        with the position; or not at all. Only learned rows end with the context.
    layer_norm_eps : float
        Of the norms, whichever they are.
    norm : {"layer", "rms", "none"}
    norm_position : {"pre", "post"}
        Before each branch, with one more norm at the end of the model, or after each shortcut.
    activation : {"gelu", "gelu_exact", "relu", "swiglu"}
        Of the feed-forward layers.
    shortcut : bool
        Whether a block's branches are added to what they read.
    n_kv_heads : int, optional
        Heads of keys and values, each shared by a group of the ``n_heads`` query heads; as many as
        heads when None.
    window : int, optional
        How many positions a query sees, itself and those before it; all of the past when None.
    qkv_bias : bool, optional
        Whether the maps to queries, keys and values have biases; as ``bias`` when None.
    scale_scores : bool
        Whether attention scores are divided by ``sqrt(head_size)``.
    rope_theta : float
        Of rotary positions: the longest wavelength is about ``2 pi rope_theta``.
    relative_attention_num_buckets, relative_attention_max_distance : int
        Of T5's bias, under the names of its published configs.

    Raises
    ------
    ValueError
        If a value is out of range, or choices do not fit each other; the message holds the rule.

    Examples
    --------
    A Llama-shaped model:

    >>> config = GPTConfig(
    ...     32000, 2048, n_layers=22, n_heads=32, d_model=2048, d_ff=5632, n_kv_heads=4, bias=False,
    ...     tie_embeddings=False, position="rope", norm="rms", activation="swiglu",
    ... )
    """

    vocab_size: int
    context_length: int
    n_layers: int
    n_heads: int
    d_model: int
    d_ff: int | None = None
    dropout: float = 0.0
    bias: bool = True
    tie_embeddings: bool = True
    position: str = "learned"
    layer_norm_eps: float = 1e-5
    norm: str = "layer"
    norm_position: str = "pre"
    activation: str = "gelu"
    shortcut: bool = True
    n_kv_heads: int | None = None
    window: int | None = None
    qkv_bias: bool | None = None
    scale_scores: bool = True
    rope_theta: float = 10000.0
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128

    def __post_init__(self) -> None:
        for name in INTEGERS:
            number = getattr(self, name)
            if number is None and name in OPTIONAL:
                continue
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ValueError(f"GPTConfig: {name} must be a positive integer, got {number!r}.")
        n_kv_heads = self.n_heads if self.n_kv_heads is None else self.n_kv_heads
        check_heads("GPTConfig", self.d_model, self.n_heads, n_kv_heads, self.window)
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(
                f"GPTConfig: dropout must be at least 0 and below 1, got {self.dropout}."
            )
        for name in ("layer_norm_eps", "rope_theta"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"GPTConfig: {name} must be positive, got {getattr(self, name)}.")
        if self.norm == "batch":
            raise ValueError(
                "GPTConfig: norm must not be 'batch': its statistics are taken over positions too, "
                f"so a position would see the future; choose one of {', '.join(NORMS)}."
            )
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"GPTConfig: {name} must be one of {', '.join(known)}, "
                    f"got {getattr(self, name)!r}."
                )
        if self.position == "rope" and self.head_size % 2:
            raise ValueError(
                "GPTConfig: position 'rope' turns features in pairs, so the head size must be "
                f"even, got d_model {self.d_model} / n_heads {self.n_heads} = {self.head_size}."
            )
        if self.relative_attention_max_distance <= self.relative_attention_num_buckets // 2:
            raise ValueError(
                "GPTConfig: relative_attention_max_distance must be above half of "
                f"relative_attention_num_buckets, got {self.relative_attention_max_distance} and "
                f"{self.relative_attention_num_buckets}."
            )
        if self.relative_attention_num_buckets < 2:
            raise ValueError(
                "GPTConfig: relative_attention_num_buckets must be at least 2, got "
                f"{self.relative_attention_num_buckets}."
            )

    @property
    def head_size(self) -> int:
        """Features of one head: ``d_model / n_heads``."""
        return self.d_model // self.n_heads

    @property
    def feed_forward_size(self) -> int:
        """``d_ff``, or what stands for it when it is None."""
        return self.d_ff or default_d_ff(self.d_model, self.activation)

    @property
    def max_length(self) -> int | None:
        """Tokens of the longest sequence that forward takes; None where positions have no end."""
        return self.context_length if POSITIONS[self.position].bounded else None

    @property
    def final_norm(self) -> str:
        """Which norm stands before the head: post-norm blocks end with one already."""
        return self.norm if self.norm_position == "pre" else "none"

    @classmethod
    def gpt2(cls, size: str = "124M", **changes) -> GPTConfig:
        """Return the shape of a released GPT-2 (vocabulary 50,257, context 1,024, dropout 0.1).

        Parameters
        ----------
        size : {"124M", "355M", "774M", "1558M"}
        **changes
            Fields that differ from GPT-2's, such as ``dropout=0.0``.
        """
        if size not in GPT2_SIZES:
            raise ValueError(
                f"GPTConfig.gpt2: size must be one of {', '.join(GPT2_SIZES)}, got {size!r}."
            )
        shape = {"vocab_size": 50257, "context_length": 1024, "dropout": 0.1, **GPT2_SIZES[size]}
        return cls(**{**shape, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> GPTConfig:
        """Make a config from `to_dict`'s fields, those of earlier versions among them.

        Raises
        ------
        ValueError
            If a field is unknown or missing, or a value is refused.
        """
        return from_fields(cls, fields)


INTEGERS = (
    "vocab_size", "context_length", "n_layers", "n_heads", "d_model", "d_ff", "n_kv_heads",
    "window", "relative_attention_num_buckets", "relative_attention_max_distance",
)  # fmt: skip
OPTIONAL = ("d_ff", "n_kv_heads", "window")
CHOICES: dict[str, Any] = {
    "position": POSITIONS,
    "norm": NORMS,
    "norm_position": NORM_POSITIONS,
    "activation": ACTIVATIONS,
}

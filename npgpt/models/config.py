"""The shape of a GPT."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

POSITIONS = ("learned",)

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
        Width of the feed-forward layer; ``4 * d_model`` when None.
    dropout : float
        Probability, for embeddings, attention weights and both branches of a block.
    bias : bool
        Whether linear maps and layer norms have biases.
    tie_embeddings : bool
        Whether the output head is the token embedding's table.
    position : {"learned"}
        How positions enter the model.
    layer_norm_eps : float

    Raises
    ------
    ValueError
        If a value is out of range, or heads do not divide ``d_model``.
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

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "n_layers", "n_heads", "d_model", "d_ff"):
            number = getattr(self, name)
            if name == "d_ff" and number is None:
                continue
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"GPTConfig: {name} must be a positive integer, got {number!r}.")
        if self.d_model % self.n_heads:
            raise ValueError(
                f"GPTConfig: n_heads must divide d_model, got d_model {self.d_model} and n_heads "
                f"{self.n_heads}."
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(
                f"GPTConfig: dropout must be at least 0 and below 1, got {self.dropout}."
            )
        if not self.layer_norm_eps > 0.0:
            raise ValueError(
                f"GPTConfig: layer_norm_eps must be positive, got {self.layer_norm_eps}."
            )
        if self.position not in POSITIONS:
            raise ValueError(
                f"GPTConfig: position must be one of {', '.join(POSITIONS)}, got {self.position!r}."
            )

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
        """Make a config from `to_dict`'s fields; an unknown or missing one raises ValueError."""
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"GPTConfig: {error}.") from None

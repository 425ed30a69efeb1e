"""The shape of a GPT."""

from __future__ import annotations

import dataclasses
from typing import Any

from npgpt.fields import documented, option
from npgpt.layers.block_config import MODEL, BlockConfig
from npgpt.models.model import ModelConfig

# Radford et al. 2019, table 2; the sizes by the parameter counts that the released models have.
GPT2_SIZES = {
    "124M": {"n_layers": 12, "n_heads": 12, "d_model": 768},
    "355M": {"n_layers": 24, "n_heads": 16, "d_model": 1024},
    "774M": {"n_layers": 36, "n_heads": 20, "d_model": 1280},
    "1558M": {"n_layers": 48, "n_heads": 25, "d_model": 1600},
}


@documented
@dataclasses.dataclass(frozen=True)
class GPTConfig(BlockConfig, ModelConfig):
    """Shape and choices of a GPT.

    Parameters
    ----------
    tie_embeddings : bool
        Whether the output head is the token embedding's table.

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

    tie_embeddings: bool = option(MODEL, default=True)

    @property
    def max_length(self) -> int | None:
        """Tokens of the longest sequence that forward takes; None where positions have no end."""
        return self.context_length if self.position == "learned" else None

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


def check_is_gpt(config: Any, what: str) -> GPTConfig:
    """Refuse a model of another family.

    Parameters
    ----------
    config : ModelConfig
    what : str
        What only a GPT can do; the message begins with it.

    Returns
    -------
    GPTConfig
        The config.

    Raises
    ------
    ValueError
        If the config is not a GPT's.
    """
    if not isinstance(config, GPTConfig):
        raise ValueError(
            f"{what} needs a GPT, and this model has a {type(config).__name__}; "
            "npgpt train --model gpt makes one."
        )
    return config

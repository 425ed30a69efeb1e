"""Everything that decides a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from npgpt.data.reading import ERROR_HANDLERS
from npgpt.fields import from_fields
from npgpt.models import GPTConfig
from npgpt.runs.tokenizer import check_tokenizer_name


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What `npgpt train` can be told; the same config and corpus give the same run.

    Parameters
    ----------
    corpus : str
        ``python-docs``, ``python-source``, or the path of a text file, a folder, or a glob; ``-``
        is standard input. A folder of token files keeps its own tokenizer.
    field : str
        Where the text is in an object of a ``.jsonl`` file.
    errors : {"strict", "replace", "ignore"}
        What to do with bytes that are not UTF-8.
    tokenizer : str
        ``bpe``, ``char``, ``word``, ``gpt2``, or the path of a tokenizer's file or folder.
    vocab_size : int
        Tokens of a BPE vocabulary; one of characters or words has the size it needs.
    validation_fraction : float
        Share of the text, at its end, that is held out.
    context_length, n_layers, n_heads, d_model, d_ff : int
    dropout : float
    bias, tie_embeddings : bool
    position, norm, norm_position, activation : str
    shortcut : bool
    n_kv_heads, window : int, optional
    qkv_bias : bool, optional
    rope_theta : float
        As in `GPTConfig`.
    stride : int
        Distance between the starts of two training windows; by default the context length, so that
        the windows lie end to end. 1 uses every position.
    batch_size : int
        Windows a batch.
    grad_accumulation : int
        Batches a step.
    recompute : bool
        As in `GPT`: less memory for more work.
    steps : int
        Optimiser steps.
    lr, min_lr : float
        Highest learning rate, and the one at the end of the cosine; a tenth of it by default.
    warmup_steps : int
        A twentieth of the steps by default.
    beta1, beta2, weight_decay : float
        Of AdamW.
    clip_norm : float
        Largest global norm of the gradient; 0 does not clip.
    eval_every : int
        Steps between evaluations on held-out text, each followed by a checkpoint; a fifth of the
        steps by default.
    eval_batches : int
        Most batches an evaluation looks at, spread evenly over the held-out text; 0 means all.
    gradient_flow : int
        Steps between measurements of the gradient flow, which change nothing else; 0 means none.
    seed : int
        Of the weights, the order of the batches, dropout, and the samples.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    corpus: str = "python-docs"
    tokenizer: str = "bpe"
    vocab_size: int = 1024
    validation_fraction: float = 0.1
    context_length: int = 64
    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 128
    dropout: float = 0.0
    bias: bool = True
    tie_embeddings: bool = True
    # None stands for a share of another field, and __post_init__ puts the number in its place
    stride: int = None  # type: ignore[assignment]
    batch_size: int = 12
    grad_accumulation: int = 1
    recompute: bool = False
    steps: int = 1200
    lr: float = 3e-3
    min_lr: float = None  # type: ignore[assignment]
    warmup_steps: int = None  # type: ignore[assignment]
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    eval_every: int = None  # type: ignore[assignment]
    eval_batches: int = 0
    gradient_flow: int = 0
    seed: int = 0
    field: str = "text"
    errors: str = "strict"
    d_ff: int | None = None
    position: str = "learned"
    norm: str = "layer"
    norm_position: str = "pre"
    activation: str = "gelu"
    shortcut: bool = True
    n_kv_heads: int | None = None
    window: int | None = None
    qkv_bias: bool | None = None
    rope_theta: float = 10000.0

    def __post_init__(self) -> None:
        defaults = {
            "stride": self.context_length,
            "min_lr": 0.1 * self.lr,
            "warmup_steps": self.steps // 20,
            "eval_every": max(1, self.steps // 5),
        }
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)  # the dataclass is frozen
        check_tokenizer_name(self.tokenizer)
        if self.errors not in ERROR_HANDLERS:
            raise ValueError(
                f"errors must be one of {', '.join(ERROR_HANDLERS)}, got {self.errors!r}."
            )
        if not 0.0 < self.validation_fraction < 1.0:
            raise ValueError(
                f"validation_fraction must be above 0 and below 1, got {self.validation_fraction}."
            )
        for name in ("stride", "batch_size", "grad_accumulation", "steps", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        not_negative = ("eval_batches", "warmup_steps", "weight_decay", "clip_norm")
        for name in (*not_negative, "gradient_flow", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}.")
        if not 0.0 <= self.min_lr <= self.lr:
            raise ValueError(
                f"learning rates must satisfy 0 <= min_lr <= lr, got lr {self.lr} and min_lr "
                f"{self.min_lr}."
            )
        for name in ("beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(
                    f"{name} must be at least 0 and below 1, got {getattr(self, name)}."
                )
        if self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps must not exceed steps, got {self.warmup_steps} and {self.steps}."
            )
        self.model_config(self.vocab_size)

    def model_config(self, vocab_size: int) -> GPTConfig:
        """Return the model's shape for a vocabulary of this size."""
        names = [field.name for field in dataclasses.fields(GPTConfig)]
        shared = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return GPTConfig(**{**shared, "vocab_size": vocab_size})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TrainingConfig:
        """Make a config from `to_dict`'s fields; an unknown one raises ValueError."""
        return from_fields(cls, fields)

"""How much memory a training step needs, counted before it runs."""

from __future__ import annotations

import dataclasses

import numpy as np

from npgpt.layers.activations import activation_width
from npgpt.models.config import GPTConfig
from npgpt.ops.workspace import head_chunk_rows


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """Bytes that the arrays of one training step take, in the order of their size for GPT-2.

    Attributes
    ----------
    parameters, gradients, moments : int
        Of the model and of AdamW, which keeps two running means.
    saved : int
        What the blocks keep from forward for backward.
    working : int
        What one block and the ends of the model need beside that, forward or backward.
    logits : int
        The chunk of them that exists at a time.

    Notes
    -----
    The interpreter and its libraries come on top; `npgpt.training.resident_size` tells how much
    they take in this process.

    Examples
    --------
    >>> plan = MemoryPlan.of(GPTConfig.gpt2("124M", dropout=0.0), batch=4, time=256)
    >>> round(plan.total / 1e9, 2)
    2.73
    """

    parameters: int
    gradients: int
    moments: int
    saved: int
    working: int
    logits: int

    @property
    def total(self) -> int:
        """Sum of all parts, in bytes."""
        return sum(dataclasses.astuple(self))

    @classmethod
    def of(
        cls, config: GPTConfig, batch: int, time: int, recompute: bool = False, dtype=np.float32
    ) -> MemoryPlan:
        """Count the arrays of a step of `npgpt.Trainer` with the compiled operations.

        Parameters
        ----------
        config : GPTConfig
        batch, time : int
            Sequences, and tokens in each.
        recompute : bool
            As for `GPT`.
        dtype : dtype
        """
        d, d_ff = config.d_model, config.feed_forward_size
        d_qkv = (config.n_heads + 2 * _n_kv_heads(config)) * config.head_size
        feed_forward = (activation_width(config.activation) + 1) * d_ff  # before and after it
        # one log-sum-exp a head; mean and 1/std, or 1/rms, of both norms
        statistics = config.n_heads + {"layer": 4, "rms": 2, "none": 0}[config.norm]
        norms = 0 if config.norm == "none" else 2 * d
        # numbers a token, for each block: both norms' outputs, both sums, the context
        block = norms + 3 * d + d_qkv + feed_forward + statistics
        if recompute:
            saved = config.n_layers * d
            working = 8 * d + 2 * norms + 2 * d_qkv + 2 * feed_forward + statistics + 2
        else:
            saved = config.n_layers * block
            working = 7 * d + norms + d_qkv + feed_forward + statistics
        if config.dropout > 0.0:
            working += d  # the embeddings after dropout
        itemsize, tokens = np.dtype(dtype).itemsize, batch * time
        parameters = itemsize * num_parameters(config)
        rows = min(tokens, head_chunk_rows(config.vocab_size))
        return cls(
            parameters=parameters,
            gradients=parameters,
            moments=2 * parameters,
            saved=itemsize * tokens * saved,
            working=itemsize * tokens * working,
            logits=itemsize * rows * config.vocab_size,
        )


def num_parameters(config: GPTConfig) -> int:
    """Count the numbers that a GPT of this shape learns, without making it.

    Examples
    --------
    >>> num_parameters(GPTConfig.gpt2("124M"))
    124439808
    """
    d, d_ff = config.d_model, config.feed_forward_size
    d_qkv = (config.n_heads + 2 * _n_kv_heads(config)) * config.head_size
    d_up = activation_width(config.activation) * d_ff
    block = d * d_qkv + d * d + d * d_up + d_ff * d
    if config.bias:
        block += d + d_up + d
    if config.bias if config.qkv_bias is None else config.qkv_bias:
        block += d_qkv
    block += 2 * _norm_parameters(config, config.norm)
    tables = config.vocab_size * (2 - config.tie_embeddings) * d
    if config.position == "learned":
        tables += config.context_length * d
    if config.position == "t5":  # one table for all blocks
        tables += config.relative_attention_num_buckets * config.n_heads
    return tables + config.n_layers * block + _norm_parameters(config, config.final_norm)


def _norm_parameters(config: GPTConfig, norm: str) -> int:
    vectors = {"layer": 1 + config.bias, "rms": 1, "none": 0}[norm]
    return vectors * config.d_model


def _n_kv_heads(config: GPTConfig) -> int:
    return config.n_kv_heads or config.n_heads

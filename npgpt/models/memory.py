"""How much memory a training step or generation needs, counted before it runs."""

from __future__ import annotations

import dataclasses

import numpy as np

from npgpt.layers.activations import activation_width
from npgpt.models.config import GPTConfig
from npgpt.ops.workspace import head_chunk_rows


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """Bytes that the arrays of a training step, or of generation, take.

    Attributes
    ----------
    parameters, gradients, moments : int
        Of the model and of AdamW, which keeps two running means. Frozen parameters have neither
        gradients nor moments.
    saved : int
        What the blocks keep from forward for backward.
    working : int
        What one block and the ends of the model need beside that, forward or backward.
    logits : int
        The chunk of them that exists at a time.
    cache : int
        Keys and values of generation.

    Notes
    -----
    The interpreter and its libraries come on top; `npgpt.runs.resident_size` tells how much
    they take in this process.

    Examples
    --------
    >>> plan = MemoryPlan.of(GPTConfig.gpt2("124M", dropout=0.0), batch=4, time=256)
    >>> round(plan.total / 1e9, 2)
    2.73

    Keys and values of 8 texts that fill the context of GPT-2:

    >>> plan = MemoryPlan.of_generation(GPTConfig.gpt2("124M"), batch=8, time=1024)
    >>> plan.cache / 2**20
    576.0
    """

    parameters: int
    gradients: int
    moments: int
    saved: int
    working: int
    logits: int
    cache: int = 0

    @property
    def total(self) -> int:
        """Sum of all parts, in bytes."""
        return sum(dataclasses.astuple(self))

    @classmethod
    def of(
        cls,
        config: GPTConfig,
        batch: int,
        time: int,
        recompute: bool = False,
        dtype=np.float32,
        method: str = "full",
        rank: int = 8,
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
        method : {"full", "last-block", "lora"}
            What is trained: everything; the last block and the final norm; or additions of low rank
            beside all linear maps of the blocks.
        rank : int
            Of ``lora``.
        """
        d, d_ff = config.d_model, config.feed_forward_size
        d_qkv = (config.n_heads + 2 * _n_kv_heads(config)) * config.head_size
        feed_forward = (activation_width(config.activation) + 1) * d_ff  # before and after it
        # one log-sum-exp a head; mean and 1/std, or 1/rms, of both norms
        statistics = config.n_heads + {"layer": 4, "rms": 2, "none": 0}[config.norm]
        norms = 0 if config.norm == "none" else 2 * d
        # numbers a token, for each block: both norms' outputs, both sums, the context
        block = norms + 3 * d + d_qkv + feed_forward + statistics
        if method == "lora":
            block += rank * len(_linear_maps(config))  # each addition's x A^T
        if recompute:
            saved = config.n_layers * d
            working = 8 * d + 2 * norms + 2 * d_qkv + 2 * feed_forward + statistics + 2
        else:
            saved = config.n_layers * block
            working = 7 * d + norms + d_qkv + feed_forward + statistics
        if config.dropout > 0.0:
            working += d  # the embeddings after dropout
        itemsize, tokens = np.dtype(dtype).itemsize, batch * time
        trained, frozen = _trained_and_frozen(config, method, rank)
        rows = min(tokens, head_chunk_rows(config.vocab_size))
        return cls(
            parameters=itemsize * (trained + frozen),
            gradients=itemsize * trained,
            moments=2 * itemsize * trained,
            saved=itemsize * tokens * saved,
            working=itemsize * tokens * working,
            logits=itemsize * rows * config.vocab_size,
        )

    @classmethod
    def of_generation(
        cls, config: GPTConfig, batch: int, time: int, dtype=np.float32
    ) -> MemoryPlan:
        """Count the arrays of `GPT.generate`, with keys and values kept.

        Parameters
        ----------
        config : GPTConfig
        batch, time : int
            Texts, and tokens of each, the new ones included; only the last of the context are kept.
        dtype : dtype
            Of keys, values and parameters, all in floating point.
        """
        d, itemsize = config.d_model, np.dtype(dtype).itemsize
        time = min(time, config.context_length)
        d_kv = _n_kv_heads(config) * config.head_size
        # while a prompt is read, as long as all of the text at most: one block at a time
        feed_forward = (activation_width(config.activation) + 1) * config.feed_forward_size
        norms = 0 if config.norm == "none" else 2 * d
        working = 4 * d + norms + (d + 2 * d_kv) + feed_forward
        return cls(
            parameters=itemsize * num_parameters(config),
            gradients=0,
            moments=0,
            saved=0,
            working=itemsize * batch * time * working,
            logits=itemsize * batch * config.vocab_size,
            cache=2 * itemsize * batch * time * d_kv * config.n_layers,
        )


def num_parameters(config: GPTConfig) -> int:
    """Count the numbers that a GPT of this shape learns, without making it.

    Examples
    --------
    >>> num_parameters(GPTConfig.gpt2("124M"))
    124439808
    """
    d = config.d_model
    tables = config.vocab_size * (2 - config.tie_embeddings) * d
    if config.position == "learned":
        tables += config.context_length * d
    if config.position == "t5":  # one table for all blocks
        tables += config.relative_attention_num_buckets * config.n_heads
    blocks = config.n_layers * _block_parameters(config)
    return tables + blocks + _norm_parameters(config, config.final_norm)


def _trained_and_frozen(config: GPTConfig, method: str, rank: int) -> tuple[int, int]:
    whole = num_parameters(config)
    if method == "full":
        return whole, 0
    if method == "last-block":
        trained = _block_parameters(config) + _norm_parameters(config, config.final_norm)
        return trained, whole - trained
    if method != "lora":
        raise ValueError(f"method must be full, last-block or lora, got {method!r}.")
    added = sum(rank * (d_in + d_out) for d_in, d_out in _linear_maps(config))
    return config.n_layers * added, whole


def _linear_maps(config: GPTConfig) -> list[tuple[int, int]]:
    """Return (d_in, d_out) of a block's linear maps."""
    d, d_ff = config.d_model, config.feed_forward_size
    d_qkv = (config.n_heads + 2 * _n_kv_heads(config)) * config.head_size
    return [(d, d_qkv), (d, d), (d, activation_width(config.activation) * d_ff), (d_ff, d)]


def _block_parameters(config: GPTConfig) -> int:
    maps = _linear_maps(config)
    qkv_bias = config.bias if config.qkv_bias is None else config.qkv_bias
    biases = [d_out * (config.bias if i else qkv_bias) for i, (_, d_out) in enumerate(maps)]
    weights = sum(d_in * d_out for d_in, d_out in maps)
    return weights + sum(biases) + 2 * _norm_parameters(config, config.norm)


def _norm_parameters(config: GPTConfig, norm: str) -> int:
    vectors = {"layer": 1 + config.bias, "rms": 1, "none": 0}[norm]
    return vectors * config.d_model


def _n_kv_heads(config: GPTConfig) -> int:
    return config.n_kv_heads or config.n_heads

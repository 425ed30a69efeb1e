"""How much memory a training step needs, counted before it runs."""

from __future__ import annotations

import dataclasses

import numpy as np

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
        d, d_ff = config.d_model, config.d_ff or 4 * config.d_model
        statistics = config.n_heads  # one log-sum-exp a head
        # numbers a token, for each block: both norms' outputs, both sums, the context; q, k, v;
        # before and after the GELU; mean and 1/std of both norms
        block = 5 * d + 3 * d + 2 * d_ff + statistics + 4
        if recompute:
            saved, working = config.n_layers * d, 12 * d + 6 * d + 4 * d_ff + statistics + 6
        else:
            saved, working = config.n_layers * block, 9 * d + 3 * d + 2 * d_ff + statistics + 4
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
    d, d_ff = config.d_model, config.d_ff or 4 * config.d_model
    biases = 3 * d + d + d_ff + d if config.bias else 0
    norm = 2 * d if config.bias else d
    block = 4 * d * d + 2 * d * d_ff + biases + 2 * norm
    tables = (config.vocab_size * (2 - config.tie_embeddings) + config.context_length) * d
    return tables + config.n_layers * block + norm

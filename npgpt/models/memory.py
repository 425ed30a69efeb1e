"""How much memory a training step or generation needs, counted before it runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.layers import Init, Layer, LayerNorm, Linear, NoNorm, RMSNorm, TransformerBlock
from npgpt.models.config import check_is_gpt
from npgpt.models.gpt import GPT
from npgpt.models.model import ModelConfig, family_of
from npgpt.models.rehearsed_pairs import rehearsed_pairs
from npgpt.models.sequence_to_sequence import SequenceToSequenceConfig
from npgpt.models.unbounded import UnboundedConfig
from npgpt.ops.workspace import head_chunk_rows

# numbers a position that a norm makes and keeps beside its output; of others it is not known
STATISTICS: dict[type[Layer], int] = {LayerNorm: 2, RMSNorm: 1, NoNorm: 0}
OF_NUMPY = 2.0  # numbers for each token and unit that NumPy itself makes on the way
# a narrow model, of which the arrays are counted; and its sequences, and tokens of each
REHEARSAL: dict[str, Any] = {"vocab_size": 3, "d_model": 128}
REHEARSAL_BATCH = 8, 64


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """Bytes that the arrays of a training step, or of generation, take.

    Attributes
    ----------
    parameters, gradients, moments : int
        Of the model and of the optimiser: AdamW keeps two running means. Frozen parameters have
        neither gradients nor moments.
    saved : int
        What the blocks keep from forward for backward.
    working : int
        What one block and the ends of the model need beside that, forward or backward.
    logits : int
        The chunk of them that exists at a time.
    cache : int
        Keys and values of generation, or the states of a model that reads without an end.

    Notes
    -----
    The interpreter and its libraries come on top; `npgpt.runs.resident_size` tells how much
    they take in this process.

    Examples
    --------
    >>> from npgpt.models import GPTConfig
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
        config: ModelConfig,
        batch: int,
        time: int,
        recompute: bool = False,
        dtype=np.float32,
        method: str = "full",
        rank: int = 8,
        num_moments: int = 2,
    ) -> MemoryPlan:
        """Count the arrays of a step of `npgpt.Trainer` with the compiled operations.

        Parameters
        ----------
        config : ModelConfig
            A GPT's, that of a recurrent or convolutional model, or that of a model of pairs.
        batch, time : int
            Sequences, and tokens in each; pairs, and tokens of each side.
        recompute : bool
            As for `GPT`.
        dtype : dtype
        method : {"full", "last-block", "lora"}
            What is trained: everything; the last block and the final norm; or additions of low rank
            beside all linear maps of the blocks.
        rank : int
            Of ``lora``.
        num_moments : int
            Arrays of the parameters' size that the optimiser keeps, `Optimizer.num_kept`: 2 of Adam
            and AdamW, 1 of SGD with momentum, 0 without.

        Raises
        ------
        ValueError
            If the model has no blocks, and blocks are to be recomputed or frozen.

        Notes
        -----
        Of a recurrent or convolutional model, whose arrays are all as wide as a multiple of
        ``d_model``, a narrow one does a step of a few tokens, and its arrays are counted. A model
        of pairs does a step of a few pairs.
        """
        if isinstance(config, SequenceToSequenceConfig):
            if method != "full":
                check_is_gpt(config, f"Method {method}")
            return cls._of_pairs(config, batch, time, recompute, dtype, num_moments)
        if isinstance(config, UnboundedConfig):
            if recompute or method != "full":
                check_is_gpt(config, "Recomputing blocks" if recompute else f"Method {method}")
            return cls._of_unbounded(config, batch, time, dtype, num_moments)
        config = check_is_gpt(config, "The memory plan")
        d, model = config.d_model, GPT(config, init=Init(fill=False))
        first = model.blocks[0]
        d_qkv, feed_forward = first.attention.qkv.d_out, _feed_forward_width(first)
        # one log-sum-exp a head, and those of both norms
        statistics = config.n_heads + 2 * STATISTICS.get(type(first.attention_norm), 2)
        norms = 0 if isinstance(first.attention_norm, NoNorm) else 2 * d
        # numbers a token, for each block: both norms' outputs, both sums, the context
        block = norms + 3 * d + d_qkv + feed_forward + statistics
        if method == "lora":
            block += rank * len(_linear_maps(first))  # each addition's x A^T
        if recompute:
            saved = config.n_layers * d
            working = 8 * d + 2 * norms + 2 * d_qkv + 2 * feed_forward + statistics + 2
        else:
            saved = config.n_layers * block
            working = 7 * d + norms + d_qkv + feed_forward + statistics
        if config.dropout > 0.0:
            working += d  # the embeddings after dropout
        itemsize, tokens = np.dtype(dtype).itemsize, batch * time
        trained, frozen = _trained_and_frozen(model, method, rank)
        rows = min(tokens, head_chunk_rows(config.vocab_size))
        return cls(
            parameters=itemsize * (trained + frozen),
            gradients=itemsize * trained,
            moments=num_moments * itemsize * trained,
            saved=itemsize * tokens * saved,
            working=itemsize * tokens * working,
            logits=itemsize * rows * config.vocab_size,
        )

    @classmethod
    def _of_unbounded(
        cls, config: UnboundedConfig, batch: int, time: int, dtype, num_moments: int
    ) -> MemoryPlan:
        size = np.dtype(dtype).itemsize * num_parameters(config)
        forward, step = _rehearsed(config)
        of_tokens = np.dtype(dtype).itemsize * batch * time * config.d_model
        rows = min(batch * time, head_chunk_rows(config.vocab_size))
        return cls(
            parameters=size,
            gradients=size,
            moments=num_moments * size,
            saved=round(forward * of_tokens),
            working=round((step - forward) * of_tokens),
            logits=np.dtype(dtype).itemsize * rows * config.vocab_size,
        )

    @classmethod
    def _of_pairs(
        cls,
        config: SequenceToSequenceConfig,
        batch: int,
        time: int,
        recompute: bool,
        dtype,
        num_moments: int,
    ) -> MemoryPlan:
        itemsize = np.dtype(dtype).itemsize
        size = itemsize * num_parameters(config)
        forward, step = rehearsed_pairs(config, time, recompute)
        scale = batch * itemsize / np.dtype(np.float32).itemsize
        rows = min(batch * time, head_chunk_rows(config.vocab_size))
        return cls(
            parameters=size,
            gradients=size,
            moments=num_moments * size,
            saved=round(scale * forward),
            working=round(scale * (step - forward)),
            logits=itemsize * rows * config.vocab_size,
        )

    @classmethod
    def of_generation(
        cls, config: ModelConfig, batch: int, time: int, dtype=np.float32
    ) -> MemoryPlan:
        """Count the arrays of ``generate``, with keys and values kept, or the states.

        Parameters
        ----------
        config : ModelConfig
            As of `of`.
        batch, time : int
            Texts, and tokens of each, the new ones included; only the last of the context are kept.
        dtype : dtype
            Of keys, values and parameters, all in floating point.
        """
        itemsize = np.dtype(dtype).itemsize
        if isinstance(config, UnboundedConfig):
            unfilled: Any = family_of(type(config))(config, init=Init(fill=False))
            states = [state.arrays for state in unfilled.new_states(1, time)]
            return cls(
                parameters=itemsize * unfilled.num_parameters(),
                gradients=0,
                moments=0,
                saved=0,
                working=round(_rehearsed(config)[0] * itemsize * batch * time * config.d_model),
                logits=itemsize * batch * config.vocab_size,
                cache=itemsize * batch * sum(array.size for arrays in states for array in arrays),
            )
        config = check_is_gpt(config, "The memory plan")
        d = config.d_model
        time = min(time, config.context_length)
        model = GPT(config, init=Init(fill=False))
        d_kv, first = config.num_kv_heads * config.head_size, model.blocks[0]
        # while a prompt is read, as long as all of the text at most: one block at a time
        norms = 0 if isinstance(first.attention_norm, NoNorm) else 2 * d
        working = 4 * d + norms + (d + 2 * d_kv) + _feed_forward_width(first)
        return cls(
            parameters=itemsize * model.num_parameters(),
            gradients=0,
            moments=0,
            saved=0,
            working=itemsize * batch * time * working,
            logits=itemsize * batch * config.vocab_size,
            cache=2 * itemsize * batch * time * d_kv * config.n_layers,
        )


def num_parameters(config: ModelConfig) -> int:
    """Count the numbers that a model of this shape learns, without their memory.

    Examples
    --------
    >>> from npgpt.models import GPTConfig
    >>> num_parameters(GPTConfig.gpt2("124M"))
    124439808
    """
    return family_of(type(config))(config, init=Init(fill=False)).num_parameters()


def _rehearsed(config: UnboundedConfig) -> tuple[float, float]:
    """Count the numbers that forward, and a whole step, make for each token and unit of the width.

    A narrow model of as many layers does a step of a few tokens.
    """
    batch, time = REHEARSAL_BATCH
    small = dataclasses.replace(config, **REHEARSAL)
    model = family_of(type(config))(small)
    ids = np.zeros((batch, time), np.int64)
    numbers = []
    with ops.use("compiled"), ops.Workspace() as workspace:
        model.hidden_states(ids)
        numbers.append(workspace.bytes_made)
        model.forget()
        for _ in range(2):
            model.loss_and_backward(ids, ids)
        numbers.append(workspace.bytes_made - model.dtype.itemsize * ids.size * small.vocab_size)
    unit = model.dtype.itemsize * ids.size * small.d_model
    forward, step = (made / unit for made in numbers)
    return forward, step + OF_NUMPY


def _trained_and_frozen(model: GPT, method: str, rank: int) -> tuple[int, int]:
    whole = model.num_parameters()
    if method == "full":
        return whole, 0
    if method == "last-block":
        earlier = {p for block in model.blocks[:-1] for p in block.parameters()}  # a shared table
        last = {*model.blocks[-1].parameters(), *model.final_norm.parameters()} - earlier
        trained = sum(parameter.size for parameter in last)
        return trained, whole - trained
    if method != "lora":
        raise ValueError(f"method must be full, last-block or lora, got {method!r}.")
    maps = [linear for block in model.blocks for linear in _linear_maps(block)]
    return sum(rank * (linear.d_in + linear.d_out) for linear in maps), whole


def _linear_maps(block: TransformerBlock) -> list[Linear]:
    return [layer for layer in block.layers() if isinstance(layer, Linear)]


def _feed_forward_width(block: TransformerBlock) -> int:
    """Numbers a position before the activation and after it."""
    return block.feed_forward.up.d_out + block.feed_forward.down.d_in

"""What a step of a model of pairs makes, counted in a small batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt import ops
from npgpt.models.model import PairBatch, family_of
from npgpt.models.sequence_to_sequence import SequenceToSequenceConfig
from npgpt.ops.workspace import head_chunk_rows

PAIRS = 4  # of the batch


def pair_batch(config: SequenceToSequenceConfig, batch: int, time: int) -> PairBatch:
    """Draw pairs of equal length, from a fixed seed.

    Parameters
    ----------
    config : SequenceToSequenceConfig
    batch, time : int
        Pairs, and tokens of each side.
    """
    rng = np.random.default_rng(0)
    sources = rng.integers(0, config.num_source_tokens, (batch, time))
    targets = rng.integers(0, config.vocab_size, (batch, time + 1))
    return PairBatch(sources, np.full(batch, time), targets[:, :-1], targets[:, 1:])


def rehearsed_pairs(
    config: SequenceToSequenceConfig, time: int, recompute: bool
) -> tuple[float, float]:
    """Count the bytes that forward, and a whole step without its logits, make for each pair.

    What attention makes grows with the product of both lengths, so that these are the real ones.

    Parameters
    ----------
    config : SequenceToSequenceConfig
    time : int
        Tokens of each side.
    recompute : bool
        As for `Transformer`.
    """
    options: Any = {"recompute": True} if recompute else {}
    model = family_of(type(config))(config, **options)
    batch = pair_batch(config, PAIRS, time)
    with ops.use("compiled"), ops.Workspace() as workspace:
        model.hidden_states(*batch[:-1])
        forward = workspace.bytes_made
        model.forget()
        for _ in range(2):
            model.loss_and_backward(*batch)
        rows = min(PAIRS * time, head_chunk_rows(config.vocab_size))
        step = workspace.bytes_made - model.dtype.itemsize * rows * config.vocab_size
    return forward / PAIRS, step / PAIRS

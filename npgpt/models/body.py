"""What models on a `Stack` share: what it reads, and what of its backward nobody needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from npgpt.layers import Embedding, Layer, Stack
from npgpt.layers.embedding import adds_rows
from npgpt.layers.positions import PositionEmbedding, SinusoidalEmbedding, gives_rows


def embedded(
    token_ids: np.ndarray,
    tokens: Embedding,
    positions: PositionEmbedding | SinusoidalEmbedding | None,
    dtype: Any,
) -> np.ndarray:
    """Look up tokens, and add what positions add, in one pass where the layers can.

    Backward goes through the positions, then the tokens.

    Parameters
    ----------
    token_ids : ndarray of int, shape (batch, time)
    tokens : Embedding
    positions : PositionEmbedding or SinusoidalEmbedding or None
        None for positions that act inside attention.
    dtype : dtype

    Returns
    -------
    ndarray, shape (batch, time, d_model)
    """
    if positions is None:
        return tokens.forward(token_ids)
    if gives_rows(positions) and adds_rows(tokens):
        shape = (*token_ids.shape, tokens.d_model)
        return tokens.forward(token_ids, positions.rows_for(shape, dtype))
    return positions.forward(tokens.forward(token_ids))


def frozen_blocks(stack: Stack, before: Iterable[Layer | None]) -> int | None:
    """Count the first blocks that need no gradient; None if something before them needs one.

    Parameters
    ----------
    stack : Stack
    before : iterable of Layer or None
        The layers whose output the stack reads.
    """
    if stack.listener is not None or any(x and x.trained_parameters() for x in before):
        return None
    trained = [bool(block.trained_parameters()) for block in stack.blocks]
    return trained.index(True) if any(trained) else len(trained)

"""One token after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from npgpt.generation.sampling import check_sampling, sample_tokens


def generate_tokens(
    next_logits: Callable[[np.ndarray], np.ndarray],
    token_ids: np.ndarray,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop_id: int | None = None,
) -> Iterator[np.ndarray]:
    """Yield new tokens, each drawn given the prompt and all tokens before it.

    Parameters
    ----------
    next_logits : function
        From token ids, (batch, time), to the logits of the next token, (batch, vocab_size).
    token_ids : ndarray of int, shape (batch, time)
        The prompt, at least one token long.
    max_new_tokens : int
    temperature, top_k, top_p
        As in `npgpt.generation.next_token_probabilities`.
    seed : int, optional
    stop_id : int, optional
        A row that draws this token is finished and repeats it; when all rows are, so is the
        generation.

    Yields
    ------
    ndarray of int64, shape (batch,)

    Raises
    ------
    ValueError
        If the prompt is empty or an argument is out of range.
    """
    token_ids = np.atleast_2d(np.asarray(token_ids))
    if token_ids.shape[-1] == 0:
        raise ValueError("generate: the prompt must have at least one token.")
    if max_new_tokens < 0:
        raise ValueError(f"generate: max_new_tokens must be at least 0, got {max_new_tokens}.")
    check_sampling(temperature, top_k, top_p)
    rng = np.random.default_rng(seed)
    finished = np.zeros(len(token_ids), dtype=bool)
    for _ in range(max_new_tokens):
        tokens = sample_tokens(next_logits(token_ids), rng, temperature, top_k, top_p)
        if stop_id is not None:
            tokens = np.where(finished, stop_id, tokens)
            finished |= tokens == stop_id
        yield tokens
        if finished.all():
            return
        token_ids = np.concatenate([token_ids, tokens[:, None]], axis=1)

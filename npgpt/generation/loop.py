"""One token after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npgpt.generation.decoders import EveryTime, StepByStep, prompts_of
from npgpt.generation.sampling import (
    check_logits,
    check_sampling,
    penalize_repetition,
    sample_tokens,
)


def generate_tokens(
    decoder: StepByStep | Callable[[np.ndarray], np.ndarray],
    token_ids,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop_id: int | None = None,
    repetition_penalty: float = 1.0,
) -> Iterator[np.ndarray]:
    """Yield new tokens, each drawn given the prompt and all tokens before it.

    Parameters
    ----------
    decoder : StepByStep or function
        A function takes token ids, (batch, time), and gives the logits of the next token, (batch,
        vocab_size).
    token_ids : ndarray of int, shape (time,) or (batch, time), or list of sequences
        The prompts, each at least one token long.
    max_new_tokens : int
    temperature, top_k, top_p
        As in `npgpt.generation.next_token_probabilities`.
    seed : int, optional
    stop_id : int, optional
        A row that draws this token is finished and repeats it; when all rows are, so is the
        generation.
    repetition_penalty : float
        As in `npgpt.generation.penalize_repetition`.

    Yields
    ------
    ndarray of int64, shape (batch,)

    Raises
    ------
    ValueError
        If a prompt is empty, an argument is out of range, or the model gives NaN.
    """
    prompts = prompts_of(token_ids)
    if max_new_tokens < 0:
        raise ValueError(f"generate: max_new_tokens must be at least 0, got {max_new_tokens}.")
    check_sampling(temperature, top_k, top_p, repetition_penalty)
    if max_new_tokens == 0:
        return
    steps: Any = decoder if hasattr(decoder, "start") else EveryTime(decoder)
    rng = np.random.default_rng(seed)
    finished = np.zeros(len(prompts), dtype=bool)
    seen = [set(prompt.tolist()) for prompt in prompts]
    logits = steps.start(prompts)
    for i in range(max_new_tokens):
        check_logits(logits)
        if repetition_penalty != 1.0:
            logits = penalize_repetition(logits, seen, repetition_penalty)
        tokens = sample_tokens(logits, rng, temperature, top_k, top_p)
        if stop_id is not None:
            tokens = np.where(finished, stop_id, tokens)
            finished |= tokens == stop_id
        yield tokens.copy()  # the caller's, who may write to it
        if finished.all() or i == max_new_tokens - 1:
            return
        for tokens_seen, token in zip(seen, tokens, strict=True):
            tokens_seen.add(int(token))
        logits = steps.step(tokens)

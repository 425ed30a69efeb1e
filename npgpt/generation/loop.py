"""One token after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npgpt.fields import check_whole
from npgpt.generation.decoders import EveryTime, StepByStep, prompts_of
from npgpt.generation.sampling import (
    Sampling,
    check_logits,
    penalize_repetition,
    sample_tokens,
)


def generate_tokens(
    decoder: StepByStep | Callable[[np.ndarray], np.ndarray],
    token_ids: Any,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    **choices: Any,
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
    sampling : Sampling, optional
    **choices
        Fields of `Sampling`, in the place of those of ``sampling``. When all rows have drawn a
        token of ``stop_id``, the generation is finished.

    Yields
    ------
    ndarray of int64, shape (batch,)

    Raises
    ------
    ValueError
        If a prompt is empty, an argument is out of range, or the model gives NaN.
    """
    prompts = prompts_of(token_ids)
    check_whole("generate", max_new_tokens=max_new_tokens)
    sampling = (sampling or Sampling()).changed(choices)
    if max_new_tokens == 0:
        return
    steps: Any = decoder if hasattr(decoder, "start") else EveryTime(decoder)
    rng = np.random.default_rng(sampling.seed)
    stop_ids = sampling.stop_ids
    finished = np.zeros(len(prompts), dtype=bool)
    seen = [set(prompt.tolist()) for prompt in prompts]
    tokens = np.zeros(len(prompts), np.int64)
    logits = steps.start(prompts)
    for i in range(max_new_tokens):
        logits = sampling.allowed(logits, is_first=i == 0)
        check_logits(logits)
        if sampling.repetition_penalty != 1.0:
            logits = penalize_repetition(logits, seen, sampling.repetition_penalty)
        drawn = sample_tokens(logits, rng, sampling.temperature, sampling.top_k, sampling.top_p)
        tokens = np.where(finished, tokens, drawn)  # a finished row repeats its last token
        if stop_ids:
            finished |= np.isin(tokens, stop_ids)
        yield tokens.copy()  # the caller's, who may write to it
        if finished.all() or i == max_new_tokens - 1:
            return
        for tokens_seen, token in zip(seen, tokens, strict=True):
            tokens_seen.add(int(token))
        logits = steps.step(tokens)

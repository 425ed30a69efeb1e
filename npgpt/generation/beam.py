"""Beam search: the likeliest continuation, with several kept at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt import ops
from npgpt.fields import check_whole
from npgpt.generation.decoders import StepByStep
from npgpt.generation.sampling import Sampling, check_logits


def beam_search(
    decoder: StepByStep,
    prompt: np.ndarray,
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    sampling: Sampling | None = None,
    **choices: Any,
) -> np.ndarray:
    """Find a continuation of high probability.

    At each step the ``num_beams`` likeliest continuations that have not ended go on; of those that
    end, ``num_beams`` are kept by ``log p / length ** length_penalty``. The search is over when no
    running one is better than the worst that is kept, as its score stands now.

    Parameters
    ----------
    decoder : StepByStep
    prompt : ndarray of int, shape (time,)
    max_new_tokens, num_beams : int
    length_penalty : float
    sampling : Sampling, optional
        Its ``stop_id`` and ``suppressed``; nothing is drawn.
    **choices
        Fields of `Sampling` in the place of those of ``sampling``.

    Returns
    -------
    ndarray of int64, shape (time + new tokens,)

    Raises
    ------
    ValueError
        If a number is below 1, or the model gives NaN.
    """
    check_whole("beam_search", 1, num_beams=num_beams, max_new_tokens=max_new_tokens)
    sampling = (sampling or Sampling()).changed(choices)
    stop_ids = sampling.stop_ids
    beams = [prompt.tolist()] * num_beams
    scores = np.full(num_beams, -np.inf)
    scores[0] = 0.0  # all begin with the same prompt: one of them is enough
    finished: list[tuple[float, list[int]]] = []
    logits = decoder.start([prompt] * num_beams)
    for length in range(1, max_new_tokens + 1):
        logits = sampling.allowed(logits, is_first=length == 1)
        check_logits(logits)
        logits = logits.astype(np.float64)
        log_p = logits - ops.log_sum_exp(logits)  # (num_beams, vocab_size)
        totals = scores[:, None] + log_p
        # twice as many as beams: at most num_beams of them end, so enough go on
        kept = _largest(totals.ravel(), 2 * num_beams)
        parents, tokens = np.divmod(kept, totals.shape[1])
        going_on: list[tuple[float, int, list[int]]] = []
        for rank, (parent, token) in enumerate(zip(parents, tokens, strict=True)):
            total = totals[parent, token]
            sequence = [*beams[parent], int(token)]
            if token in stop_ids or length == max_new_tokens:
                if rank < num_beams and np.isfinite(total):
                    finished.append((total / length**length_penalty, sequence))
            elif len(going_on) < num_beams:
                going_on.append((float(total), int(parent), sequence))
        finished = sorted(finished, key=lambda pair: -pair[0])[:num_beams]
        if not going_on:
            break
        best_running = going_on[0][0] / length**length_penalty
        if len(finished) == num_beams and best_running <= finished[-1][0]:
            break
        scores = np.array([total for total, _, _ in going_on])
        beams = [sequence for _, _, sequence in going_on]
        decoder.reorder(np.array([parent for _, parent, _ in going_on]))
        logits = decoder.step(np.array([sequence[-1] for sequence in beams]))
    return np.array(finished[0][1])


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the largest values, largest first; the lower index of equal ones."""
    count = min(count, len(values))
    candidates = np.argpartition(-values, count - 1)[:count]
    return candidates[np.lexsort((candidates, -values[candidates]))]

"""From logits to one token: temperature, top-k, top-p."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from npgpt import ops


def check_sampling(
    temperature: float, top_k: int | None, top_p: float | None, repetition_penalty: float = 1.0
) -> None:
    """Raise ValueError if a sampling argument is out of range."""
    if not temperature >= 0.0:
        raise ValueError(f"temperature must be at least 0, got {temperature}.")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}.")
    if top_p is not None and not 0.0 < top_p <= 1.0:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}.")
    if not repetition_penalty > 0.0:
        raise ValueError(f"repetition_penalty must be above 0, got {repetition_penalty}.")


def check_logits(logits: np.ndarray) -> None:
    """Raise ValueError if a row has no likeliest token: NaN, plus infinity, or nothing but -inf.

    Minus infinity rules a token out, and may stand for some of them.
    """
    if not np.isfinite(logits.max(axis=-1)).all():  # the maximum is NaN if any number is
        raise ValueError(
            "generate: the logits are not finite (NaN or infinity), so no token can be chosen; "
            "the model's weights are damaged, or its training diverged."
        )


def penalize_repetition(
    logits: np.ndarray, seen: Sequence[Collection[int]], penalty: float
) -> np.ndarray:
    """Make tokens that a sequence holds already less likely.

    A positive logit is divided by the penalty, a negative one multiplied (Keskar et al. 2019, arXiv
    1909.05858, section 4.1, in the form that leaves 0 at 0).

    Parameters
    ----------
    logits : ndarray, shape (batch, vocab_size)
    seen : sequence of collections of int
        Each row's tokens.
    penalty : float
        Above 1 to discourage, below 1 to encourage.

    Returns
    -------
    ndarray, same shape
    """
    logits = logits.copy()
    for row, tokens in zip(logits, seen, strict=True):
        ids = np.fromiter(tokens, np.int64, len(tokens))
        row[ids] = np.where(row[ids] > 0.0, row[ids] / penalty, row[ids] * penalty)
    return logits


def next_token_probabilities(
    logits: np.ndarray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> np.ndarray:
    """Turn logits into the distribution that is sampled from.

    The order is the usual one: temperature, then ``top_k``, then ``top_p`` on what is left, then
    the rest is scaled to sum to 1. Tokens that tie with the ``top_k``-th likeliest are kept.

    Parameters
    ----------
    logits : ndarray, shape (batch, vocab_size)
    temperature : float
        Above 0: below 1 sharpens the distribution, above 1 flattens it. 0 puts all probability on
        the likeliest token (the first, if several are equal).
    top_k : int, optional
    top_p : float, optional

    Returns
    -------
    ndarray of float64, shape (batch, vocab_size)
        Rows sum to 1.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_sampling(temperature, top_k, top_p)
    logits = logits.astype(np.float64)
    if temperature == 0.0:
        greedy = np.zeros_like(logits)
        np.put_along_axis(greedy, logits.argmax(axis=-1, keepdims=True), 1.0, axis=-1)
        return greedy
    # the largest logit becomes 0 before the division, so that no temperature overflows
    scores = (logits - logits.max(axis=-1, keepdims=True)) / temperature
    if top_k is not None and top_k < scores.shape[-1]:
        smallest_kept = np.partition(scores, -top_k, axis=-1)[:, -top_k, None]
        scores = np.where(scores >= smallest_kept, scores, -np.inf)
    probabilities = ops.softmax_forward(scores)
    if top_p is not None and top_p < 1.0:
        order = np.argsort(-probabilities, axis=-1, kind="stable")
        ranked = np.take_along_axis(probabilities, order, axis=-1)
        likelier = np.cumsum(ranked, axis=-1) - ranked  # probability of all likelier tokens
        ranked = np.where(likelier < top_p, ranked, 0.0)  # the first token always stays
        np.put_along_axis(probabilities, order, ranked, axis=-1)
        probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return probabilities


def sample_tokens(
    logits: np.ndarray,
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> np.ndarray:
    """Draw one token a row from `next_token_probabilities`.

    Parameters
    ----------
    logits : ndarray, shape (batch, vocab_size)
    rng : numpy.random.Generator
        Gives one uniform number a row.
    temperature, top_k, top_p
        As in `next_token_probabilities`.

    Returns
    -------
    ndarray of int64, shape (batch,)
    """
    if temperature == 0.0:
        return logits.argmax(axis=-1)
    cumulative = np.cumsum(
        next_token_probabilities(logits, temperature, top_k, top_p), axis=-1
    )  # (batch, vocab_size)
    # below the row's own total: rounding may leave it a little under 1
    drawn = rng.random((logits.shape[0], 1)) * cumulative[:, -1:]
    return (cumulative <= drawn).sum(axis=-1)

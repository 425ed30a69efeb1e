"""From logits to one token: temperature, top-k, top-p."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.fields import check_options, names_of, option


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are drawn, and where a text ends.

    Parameters
    ----------
    temperature : float
        Divides the logits: below 1 is safer, above 1 bolder; 0 takes the likeliest token every time
        (greedy).
    top_k : int, optional
        Draw from this many likeliest tokens.
    top_p : float, optional
        Draw from the smallest set of likeliest tokens whose probability reaches this share (nucleus
        sampling, Holtzman et al. 2020, arXiv 1904.09751).
    repetition_penalty : float
        Above 1, tokens that are there already become less likely (Keskar et al. 2019, arXiv
        1909.05858, section 4.1).
    seed : int, optional
        Same seed, same text.
    stop_id : int or collection of int, optional
        A sequence that draws this token, or one of these, is finished; it is filled with the token
        while others of a batch go on.
    suppressed : collection of int
        Ids that are never drawn, such as those that stand for no token.
    begin_suppressed : collection of int
        Ids that are not drawn as the first new token.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> Sampling(top_k=5, stop_id=[2, 7]).stop_ids
    (2, 7)
    """

    temperature: float = option(default=1.0, minimum=0)
    top_k: int | None = option(default=None, minimum=1)
    top_p: float | None = option(default=None)
    repetition_penalty: float = option(default=1.0)
    seed: int | None = option(default=None, minimum=0)
    stop_id: int | Collection[int] | None = None
    suppressed: Collection[int] = ()
    begin_suppressed: Collection[int] = ()

    def __post_init__(self) -> None:
        check_options(self)
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}.")
        if not self.repetition_penalty > 0.0:
            raise ValueError(f"repetition_penalty must be above 0, got {self.repetition_penalty}.")

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end a sequence."""
        if self.stop_id is None:
            return ()
        several = isinstance(self.stop_id, Iterable)
        ids: Any = self.stop_id if several else [self.stop_id]
        return tuple(map(int, ids))

    def changed(self, choices: Mapping[str, Any]) -> Sampling:
        """Return another one with other values of some fields.

        Raises
        ------
        TypeError
            If there is no field of a name.
        """
        unknown = [name for name in choices if name not in names_of(Sampling)]
        if unknown:
            raise TypeError(
                f"generate: there is no choice {', '.join(map(repr, unknown))}; there are "
                f"{', '.join(names_of(Sampling))}."
            )
        return dataclasses.replace(self, **choices) if choices else self

    def allowed(self, logits: np.ndarray, is_first: bool) -> np.ndarray:
        """Return logits, (batch, vocab_size), with minus infinity for what may not be drawn.

        Parameters
        ----------
        logits : ndarray, shape (batch, vocab_size)
        is_first : bool
            Whether these are the logits of the first new token.
        """
        for banned in (self._never, self._not_first) if is_first else (self._never,):
            if banned.size:
                logits = logits.copy()
                logits[:, banned[banned < logits.shape[1]]] = -np.inf
        return logits

    @functools.cached_property
    def _never(self) -> np.ndarray:
        return np.array([*self.suppressed], np.int64)

    @functools.cached_property
    def _not_first(self) -> np.ndarray:
        return np.array([*self.begin_suppressed], np.int64)


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
    logits, largest = logits.copy(), np.finfo(logits.dtype).max
    for row, tokens in zip(logits, seen, strict=True):
        ids = np.fromiter(tokens, np.int64, len(tokens))
        with np.errstate(all="ignore"):  # a penalty may be next to nothing, or enormous
            changed = np.where(row[ids] > 0.0, row[ids] / penalty, row[ids] * penalty)
        row[ids] = np.where(row[ids] > -np.inf, np.clip(changed, -largest, largest), -np.inf)
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
    Sampling(temperature, top_k, top_p)  # raises if one is out of range
    logits = logits.astype(np.float64)
    if temperature == 0.0:
        greedy = np.zeros_like(logits)
        np.put_along_axis(greedy, logits.argmax(axis=-1, keepdims=True), 1.0, axis=-1)
        return greedy
    # the largest logit becomes 0 before the division, so that it overflows at no temperature
    with np.errstate(over="ignore"):  # what is out of reach becomes minus infinity
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

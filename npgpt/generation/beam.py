"""Beam search: the likeliest continuations, with several kept at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from npgpt import ops
from npgpt.fields import check_real, check_whole, short_repr
from npgpt.generation.decoders import StepByStep
from npgpt.generation.sampling import Sampling, check_logits

MOST_BEAMS = 1 << 31


class Hypothesis(NamedTuple):
    """A continuation that a search has found.

    Parameters
    ----------
    token_ids : ndarray of int64, shape (length,)
        The new tokens; the one that ended it, if there was one, is the last.
    log_p : float
        The logarithm of its probability, in nats.
    score : float
        What it was compared by: ``log_p`` divided by what its length is worth.
    """

    token_ids: np.ndarray
    log_p: float
    score: float

    def __repr__(self) -> str:
        return short_repr(self)


def worth_of_length(penalty: float) -> Callable[[int], float]:
    """Make ``length ** penalty``, transformers' and fairseq's; 0 leaves probabilities as they are.

    Parameters
    ----------
    penalty : float
        Above 0 longer sequences gain; with 1 they are compared by the mean of their tokens.
    """
    check_real("beam search", length_penalty=penalty)
    return lambda length: length**penalty


def worth_of_length_gnmt(penalty: float) -> Callable[[int], float]:
    """Make ``((5 + length) / 6) ** penalty`` (Wu et al. 2016, arXiv 1609.08144, eq. 14).

    Parameters
    ----------
    penalty : float
        The paper's alpha; 0.6 to 0.7 there.
    """
    check_real("beam search", length_penalty=penalty)
    return lambda length: ((5 + length) / 6) ** penalty


# how a length counts, by its name
LENGTH_PENALTIES: dict[str, Callable[[float], Callable[[int], float]]] = {
    "power": worth_of_length,
    "gnmt": worth_of_length_gnmt,
}


def search_beams(
    decoder: StepByStep,
    prompts: Sequence[np.ndarray],
    max_new_tokens: int,
    num_beams: int,
    worth: Callable[[int], float] | None = None,
    sampling: Sampling | None = None,
    num_best: int = 1,
    forced_end_id: int | None = None,
    renormalize: bool = True,
) -> list[list[Hypothesis]]:
    """Find continuations of high probability of each of several prompts.

    At each step the ``num_beams`` likeliest continuations of a prompt that have not ended go on; of
    those that end, ``num_beams`` are kept by ``log p / worth(length)``. A prompt's search is over
    when no running one is better than the worst that is kept, as its score stands now.

    Parameters
    ----------
    decoder : StepByStep
        It reads each prompt ``num_beams`` times, in rows beside each other.
    prompts : sequence of ndarray of int, each (time,)
    max_new_tokens, num_beams : int
    worth : function, optional
        From the number of new tokens to what the logarithm of their probability is divided by, as
        `LENGTH_PENALTIES` make it; by default that number.
    sampling : Sampling, optional
        Its ``stop_id``, ``suppressed`` and ``begin_suppressed``; nothing is drawn.
    num_best : int
        How many are returned of each prompt; at most ``num_beams``.
    forced_end_id : int, optional
        The token that stands last, with probability 1, where ``max_new_tokens`` are reached.
    renormalize : bool
        Whether the probabilities of the tokens that are left sum to 1 where some are suppressed;
        transformers' ``renormalize_logits``.

    Returns
    -------
    list of list of Hypothesis
        Of each prompt the best ones, best first.

    Raises
    ------
    ValueError
        If a number is below 1, more are asked for than are kept, or the model gives NaN.
    """
    check_whole("beam_search", 1, num_beams=num_beams, max_new_tokens=max_new_tokens)
    check_whole("beam_search", 1, num_best=num_best)
    if num_best > num_beams:
        raise ValueError(
            f"beam_search: {num_beams} beams find {num_beams} continuations; num_best must not be "
            f"above that, got {num_best}."
        )
    if num_beams > MOST_BEAMS:
        raise OverflowError(f"beam_search: {num_beams} beams are more than any memory holds.")
    sampling = sampling or Sampling()
    worth = worth or worth_of_length(1.0)
    searches = [_Search(num_beams, max_new_tokens, worth, sampling.stop_ids) for _ in prompts]
    logits = decoder.start([prompt for prompt in prompts for _ in range(num_beams)])
    for length in range(1, max_new_tokens + 1):
        allowed = sampling.allowed(logits, is_first=length == 1)
        check_logits(allowed)
        normalized_by = ops.log_sum_exp((allowed if renormalize else logits).astype(np.float64))
        log_p = allowed - normalized_by  # (prompts * num_beams, vocab_size), float64
        if forced_end_id is not None and length == max_new_tokens:
            log_p[...] = -np.inf
            log_p[:, forced_end_id] = 0.0
        for search, rows in zip(searches, np.split(log_p, len(searches)), strict=True):
            search.step(rows)
        if all(search.is_over for search in searches):
            break
        begins = num_beams * np.arange(len(searches))[:, None]
        decoder.reorder((begins + [search.parents for search in searches]).ravel())
        logits = decoder.step(np.ravel([search.last_tokens for search in searches]))
    return [search.finished[:num_best] for search in searches]


class _Search:
    """The beams of one prompt. When it is over, its rows go on with what nobody looks at."""

    def __init__(
        self,
        num_beams: int,
        max_new_tokens: int,
        worth: Callable[[int], float],
        stop_ids: tuple[int, ...],
    ):
        self.num_beams, self.max_new_tokens = num_beams, max_new_tokens
        self.worth, self.stop_ids = worth, stop_ids
        self.is_over = False
        self.finished: list[Hypothesis] = []
        self.parents = np.arange(num_beams)  # of the beams that go on
        self._beams: list[list[int]] = [[]] * num_beams
        # all begin with the same prompt: one of them is enough
        self._totals = np.where(self.parents == 0, 0.0, -np.inf)

    @property
    def last_tokens(self) -> list[int]:
        """What each beam reads next; of a search that is over anything."""
        return [0 if self.is_over else beam[-1] for beam in self._beams]

    def step(self, log_p: np.ndarray) -> None:
        """Choose who goes on, from the next token's log-probabilities, (num_beams, vocab_size)."""
        if self.is_over:
            return
        length = len(self._beams[0]) + 1
        totals = self._totals[:, None] + log_p
        # for each beam one that goes on, and all that may end
        kept = _largest(totals.ravel(), (1 + max(1, len(self.stop_ids))) * self.num_beams)
        going_on: list[tuple[float, int, list[int]]] = []
        for rank, (parent, token) in enumerate(zip(*np.divmod(kept, totals.shape[1]), strict=True)):
            total, beam = float(totals[parent, token]), [*self._beams[parent], int(token)]
            if token in self.stop_ids or length == self.max_new_tokens:
                if rank < self.num_beams and np.isfinite(total):
                    score = total / self.worth(length)
                    self.finished.append(Hypothesis(np.array(beam), total, score))
            elif len(going_on) < self.num_beams:
                going_on.append((total, int(parent), beam))
        self.finished.sort(key=lambda hypothesis: -hypothesis.score)
        del self.finished[self.num_beams :]
        is_full = len(self.finished) == self.num_beams
        if not going_on or (
            is_full and going_on[0][0] / self.worth(length) <= self.finished[-1].score
        ):
            self.is_over = True
            self.parents = np.arange(self.num_beams)
            return
        while len(going_on) < self.num_beams:  # of a tiny vocabulary
            going_on.append((-np.inf, *going_on[0][1:]))
        self._totals = np.array([total for total, _, _ in going_on])
        self.parents = np.array([parent for _, parent, _ in going_on])
        self._beams = [beam for _, _, beam in going_on]


def beam_search(
    decoder: StepByStep,
    prompt: np.ndarray,
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    sampling: Sampling | None = None,
    **choices: Any,
) -> np.ndarray:
    """Find a continuation of high probability of one prompt, as `search_beams` does.

    Parameters
    ----------
    decoder : StepByStep
    prompt : ndarray of int, shape (time,)
    max_new_tokens, num_beams : int
    length_penalty : float
        Finished continuations are compared by ``log p / length ** length_penalty``.
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
    sampling = (sampling or Sampling()).changed(choices)
    worth = worth_of_length(length_penalty)
    ((best,),) = search_beams(decoder, [prompt], max_new_tokens, num_beams, worth, sampling)
    return np.concatenate([prompt, best.token_ids])


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the largest values, largest first; the lower index of equal ones."""
    count = min(count, len(values))
    candidates = np.argpartition(-values, count - 1)[:count]
    return candidates[np.lexsort((candidates, -values[candidates]))]

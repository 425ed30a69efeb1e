"""One text or two as a model of BERT's kind reads them: with tokens around and between."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npgpt.fields import short_repr

STRATEGIES = ("longest_first", "only_first", "only_second")


class EncodedPair(NamedTuple):
    """The ids of one text or two, and which text each belongs to.

    Attributes
    ----------
    token_ids : ndarray of int64, shape (time,)
    segments : ndarray of int64, shape (time,)
    """

    token_ids: np.ndarray
    segments: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def joined(
    first: np.ndarray,
    second: np.ndarray | None,
    cls_id: int,
    sep_id: int,
    max_length: int | None = None,
    truncation: str = "longest_first",
) -> EncodedPair:
    """Put ``[CLS]`` and ``[SEP]`` around one text or two (Devlin et al. 2019, figure 2).

    Parameters
    ----------
    first, second : ndarray of int64
    cls_id, sep_id : int
    max_length : int, optional
        Of all ids.
    truncation : {"longest_first", "only_first", "only_second"}

    Raises
    ------
    ValueError
        If ``truncation`` is another word, or the text that is to lose tokens has too few.
    """
    if max_length is not None:
        around = 2 if second is None else 3
        sizes = len(first), None if second is None else len(second)
        keep_first, keep_second = kept_lengths(*sizes, max_length - around, truncation)
        first = first[:keep_first]
        second = None if second is None else second[:keep_second]
    end = np.array([sep_id], np.int64)
    parts = [np.array([cls_id], np.int64), first, end]
    segments = [np.zeros(len(first) + 2, np.int64)]
    if second is not None:
        parts += [second, end]
        segments.append(np.ones(len(second) + 1, np.int64))
    return EncodedPair(np.concatenate(parts), np.concatenate(segments))


def kept_lengths(first: int, second: int | None, room: int, truncation: str) -> tuple[int, int]:
    """Return how many tokens of two texts stay.

    With "longest_first" the longer one loses tokens until it is as long as the other, then both;
    an odd one is left to the text that was longer, the second of equal ones.

    Examples
    --------
    >>> kept_lengths(9, 3, 8, "longest_first"), kept_lengths(9, 8, 7, "longest_first")
    ((5, 3), (4, 3))
    """
    if truncation not in STRATEGIES:
        raise ValueError(f"truncation must be one of {', '.join(STRATEGIES)}, got {truncation!r}.")
    if room < 0:
        raise ValueError("max_length leaves no room for the special tokens around a text.")
    excess = max(0, first + (second or 0) - room)
    if second is None or truncation == "only_first":
        if second is None and truncation == "only_second":
            raise ValueError("truncation is only_second, but there is only one text.")
        keep = first - excess, second or 0
    elif truncation == "only_second":
        keep = first, second - excess
    elif not excess:
        keep = first, second
    else:
        short = min(first, second, room // 2)
        keep = (room - short, short) if first > second else (short, room - short)
    if min(keep) < 0:
        raise ValueError(
            f"max_length is too small: truncation is {truncation}, but that text has fewer tokens "
            "than there are too many."
        )
    return keep

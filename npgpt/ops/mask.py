"""Which keys a query may see, as data: three numbers instead of a (time, keys) array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Mask(NamedTuple):
    """Which keys each query of an attention may see.

    Queries are the last ``time`` of ``keys`` positions: query ``t`` stands at ``keys - time + t``.
    A query that sees no key at all has context 0 and sends no gradient.

    Parameters
    ----------
    causal : bool
        Whether a query sees itself and what lies before it only.
    window : int, optional
        How many positions it sees, itself and those before it, and as many after it if the mask is
        not causal (Beltagy et al. 2020, arXiv 2004.05150); all of them by default.
    lengths : ndarray of int, shape (batch,), optional
        How many keys of each sequence are there; what comes after them is padding.
    """

    causal: bool = True
    window: int | None = None
    lengths: np.ndarray | None = None

    def reach(self, time: int, keys: int) -> tuple[int, int]:
        """Return how many positions before and how many after itself a query sees, at most.

        Parameters
        ----------
        time : int
            How many queries there are.
        keys : int
            How many keys.
        """
        farthest = max(time, keys)
        before = min(self.window or farthest, farthest) - 1
        return before, 0 if self.causal else before


CAUSAL = Mask()

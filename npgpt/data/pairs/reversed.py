"""Letters, and the same letters from the last to the first."""

from __future__ import annotations

import string

import numpy as np

from npgpt.data.pairs.corpus import Pair
from npgpt.data.splits import VALIDATION

LONGEST_LEARNED, LONGEST = 25, 35
OF_EACH, OF_EACH_BEYOND = 2_000, 200  # strings of each length


def reversed_pairs() -> list[Pair]:
    """Pair strings of small letters with their reverse, equally many of each length.

    Those of up to 25 letters are learned, but for what the hash holds out; those of 26 to 35 are
    all held out: they ask whether what was learned goes beyond the lengths that were seen.
    """
    rng = np.random.default_rng(0)
    letters = np.array([*string.ascii_lowercase])
    pairs: dict[Pair, None] = {}
    for length in range(1, LONGEST + 1):
        beyond = length > LONGEST_LEARNED
        count = OF_EACH_BEYOND if beyond else OF_EACH
        for row in letters[rng.integers(0, len(letters), (count, length))].tolist():
            text = "".join(row)
            pairs[Pair(text, text[::-1], text, VALIDATION if beyond else "")] = None
    return [*pairs]

"""Each token of a text masked in its turn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from npgpt.data.sequences import pad
from npgpt.ops import IGNORE_INDEX


class EachTokenMasked:
    """Texts once for each of their tokens, with that one masked.

    The exponential of a model's mean loss over them is its pseudo-perplexity (Salazar et al. 2020,
    arXiv 1910.14659, equation 3).

    Parameters
    ----------
    texts : sequence of ndarray of int
    mask_id : int
    special_ids : collection of int
        Ids that are not asked for.
    limit : int, optional
        Tokens to ask for at most, evenly spread.

    Raises
    ------
    ValueError
        If there is no token to ask for.

    Examples
    --------
    >>> each = EachTokenMasked([np.array([1, 7, 8, 2])], mask_id=9, special_ids=[1, 2])
    >>> token_ids, targets, segments, lengths = each.batch([0, 1])
    >>> token_ids.tolist(), targets.tolist()
    ([[1, 9, 8, 2], [1, 7, 9, 2]], [[-100, 7, -100, -100], [-100, -100, 8, -100]])
    """

    def __init__(
        self,
        texts: Sequence[np.ndarray],
        mask_id: int,
        special_ids: Collection[int] = (),
        limit: int | None = None,
    ):
        self.texts, self.mask_id = list(texts), mask_id
        asked = [np.flatnonzero(~np.isin(text, [*special_ids])) for text in self.texts]
        counts = [len(places) for places in asked]
        if not any(counts):
            raise ValueError("EachTokenMasked: the texts have no token to ask for.")
        total = sum(counts)
        count = total if limit is None else min(limit, total)
        kept = np.arange(count) * total // max(count, 1)
        self._places = np.concatenate(asked)[kept]
        self._text_of = np.repeat(np.arange(len(counts)), counts)[kept]

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, indices) -> tuple[np.ndarray, ...]:
        """Stack texts with one masked token each.

        Returns
        -------
        token_ids, targets, segments, lengths
            As of `npgpt.models.MaskedBatch`.
        """
        indices = np.asarray(indices)
        rows = [self.texts[i] for i in self._text_of[indices]]
        token_ids, places = pad(rows), (np.arange(len(rows)), self._places[indices])
        targets = np.full_like(token_ids, IGNORE_INDEX)
        targets[places] = token_ids[places]
        token_ids[places] = self.mask_id
        return token_ids, targets, np.zeros_like(token_ids), np.array([len(row) for row in rows])

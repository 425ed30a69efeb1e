"""Examples of different lengths, padded to the longest of their batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npgpt.ops import IGNORE_INDEX


def pad(rows: Sequence[np.ndarray], value: int = 0) -> np.ndarray:
    """Stack rows, filled up at their ends.

    Examples
    --------
    >>> pad([np.array([1, 2, 3]), np.array([4])])
    array([[1, 2, 3],
           [4, 0, 0]])
    """
    padded = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for row, place in zip(rows, padded, strict=True):
        place[: len(row)] = row
    return padded


class PaddedTexts:
    """Texts as token ids.

    Parameters
    ----------
    texts : sequence of ndarray of int
    """

    def __init__(self, texts: Sequence[np.ndarray]):
        self.texts = list(texts)
        self.lengths = np.array([len(text) for text in self.texts], np.int64)

    def __len__(self) -> int:
        return len(self.texts)

    def batch(self, indices) -> tuple[np.ndarray, ...]:
        """Stack texts.

        Returns
        -------
        token_ids : ndarray of int64, shape (len(indices), longest)
        lengths : ndarray of int64, shape (len(indices),)
        """
        indices = np.asarray(indices)
        return pad([self.texts[i] for i in indices]), self.lengths[indices]


class LabelledTexts(PaddedTexts):
    """Texts as token ids, each with the number of its class.

    Parameters
    ----------
    texts : sequence of ndarray of int
    labels : array_like of int
    """

    def __init__(self, texts: Sequence[np.ndarray], labels):
        super().__init__(texts)
        self.labels = np.asarray(labels, np.int64)

    def batch(self, indices) -> tuple[np.ndarray, ...]:
        """Stack texts.

        Returns
        -------
        token_ids : ndarray of int64, shape (len(indices), longest)
        lengths, labels : ndarray of int64, shape (len(indices),)
        """
        return *super().batch(indices), self.labels[np.asarray(indices)]


class Responses:
    """Prompts with their responses, in which every token predicts the next.

    Parameters
    ----------
    texts : sequence of ndarray of int
        Prompt and response together.
    prompt_lengths : sequence of int
        Tokens of each prompt.
    mask_prompt : bool
        Whether only the response counts: targets in the prompt are -100.

    Examples
    --------
    >>> responses = Responses([np.array([5, 6, 7, 8])], prompt_lengths=[2])
    >>> inputs, targets = responses.batch([0])
    >>> inputs.tolist(), targets.tolist()
    ([[5, 6, 7]], [[-100, 7, 8]])
    """

    def __init__(
        self,
        texts: Sequence[np.ndarray],
        prompt_lengths: Sequence[int],
        mask_prompt: bool = True,
    ):
        self.inputs = [text[:-1] for text in texts]
        self.targets = [text[1:].copy() for text in texts]
        for targets, length in zip(self.targets, prompt_lengths, strict=True):
            if mask_prompt:
                targets[: length - 1] = IGNORE_INDEX
        self.lengths = np.array([len(row) for row in self.inputs], np.int64)

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices) -> tuple[np.ndarray, np.ndarray]:
        """Stack texts.

        Returns
        -------
        inputs, targets : ndarray of int64, shape (len(indices), longest)
        """
        inputs, targets = ([rows[i] for i in indices] for rows in (self.inputs, self.targets))
        return pad(inputs), pad(targets, IGNORE_INDEX)

    def packed(self, context_length: int) -> Responses:
        """Put several texts into each row, so that next to nothing is padded.

        Longest first, each goes to the fullest row that has room for it. A text also sees those
        before it in its row.

        Parameters
        ----------
        context_length : int
        """
        rows: list[list[int]] = []
        room: list[int] = []
        for i in np.argsort(-self.lengths, kind="stable"):
            fits = [row for row in range(len(rows)) if room[row] >= self.lengths[i]]
            if fits:
                row = min(fits, key=room.__getitem__)
            else:
                row = len(rows)
                rows.append([])
                room.append(context_length)
            rows[row].append(int(i))
            room[row] -= int(self.lengths[i])
        packed = Responses([], [])
        packed.inputs = [np.concatenate([self.inputs[i] for i in row]) for row in rows]
        packed.targets = [np.concatenate([self.targets[i] for i in row]) for row in rows]
        packed.lengths = np.array([len(row) for row in packed.inputs], np.int64)
        return packed


class PreferencePairs:
    """Pairs of responses to one prompt, and what a reference model thinks of them.

    Parameters
    ----------
    chosen, rejected : Responses
        Equally many.
    reference : ndarray, shape (pairs, 2)
        Log-probabilities of the chosen and the rejected response.
    """

    def __init__(self, chosen: Responses, rejected: Responses, reference: np.ndarray | None = None):
        self.chosen, self.rejected = chosen, rejected
        self.reference = np.zeros((len(chosen), 2)) if reference is None else reference
        self.lengths = np.maximum(chosen.lengths, rejected.lengths)

    def __len__(self) -> int:
        return len(self.chosen)

    def batch(self, indices) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Stack pairs, all chosen responses before all rejected ones.

        Returns
        -------
        inputs, targets : ndarray of int64, shape (2 len(indices), longest)
        reference : ndarray, shape (2 len(indices),)
        """
        indices = np.asarray(indices)
        sides = (self.chosen, self.rejected)
        inputs = pad([side.inputs[i] for side in sides for i in indices])
        targets = pad([side.targets[i] for side in sides for i in indices], IGNORE_INDEX)
        return inputs, targets, self.reference[indices].T.reshape(-1)

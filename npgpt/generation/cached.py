"""A model that reads token after token, and keeps what it needs of those before."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from npgpt.generation.decoders import ContextWarning, window_start
from npgpt.layers.core.layer import Layer
from npgpt.layers.states import State


class Steps(Layer):
    """What a model defines to be read step by step."""

    @property
    def reads_in_steps(self) -> bool:
        """Whether `start` and `step` give what the whole text at once does.

        It may not be so of a model that holds layers of which nothing but forward is known.
        """
        return True

    @property
    def context_length(self) -> int:
        """How many tokens the model looks back."""
        raise TypeError(f"{type(self).__name__} has no context_length; a model must define it.")

    def new_states(self, rows: int, capacity: int) -> Sequence[State]:
        """Make what the model keeps of ``rows`` sequences of up to ``capacity`` tokens.

        Parameters
        ----------
        rows : int
            How many sequences.
        capacity : int
            The most tokens of one.
        """
        raise TypeError(f"{type(self).__name__} has no new_states; a model must define it.")

    def start(
        self, token_ids: np.ndarray, lengths: np.ndarray, states: Sequence[Any], memory: Any = None
    ) -> np.ndarray:
        """Read the beginnings of sequences.

        Parameters
        ----------
        token_ids : ndarray of int, shape (batch, time)
            Padded at the end.
        lengths : ndarray of int, shape (batch,)
        states : sequence of State
            With nothing read yet; they are filled, each to its sequence's length.
        memory : optional
            What a family reads beside the tokens, such as an encoder's output; states keep it.

        Returns
        -------
        ndarray, shape (batch, vocab_size)
            The logits of each sequence's next token.
        """
        raise TypeError(f"{type(self).__name__} has no start; a model must define it.")

    def step(self, tokens: np.ndarray, states: Sequence[Any]) -> np.ndarray:
        """Read one more token of each sequence, (batch,); return logits, (batch, vocab_size).

        Parameters
        ----------
        tokens : ndarray of int, shape (batch,)
        states : sequence of State
            What `new_states` made, and `start` filled.
        """
        raise TypeError(f"{type(self).__name__} has no step; a model must define it.")


class Cached:
    """Logits of the next token, step by step, with a model's states kept.

    Parameters
    ----------
    model : Steps
        In evaluation mode.
    max_new_tokens : int
        How many tokens will follow the prompts, for the size of the states.
    memory : optional
        What the model reads beside the tokens; it goes to ``model.start``.

    Notes
    -----
    Prompts of different lengths are padded at their end while they are read: a causal model does
    not let a position see what comes after it, so padding changes nothing, and it is never kept. A
    sequence that outgrows the context loses its oldest tokens, a quarter of the context at a time,
    and what is left is read again: its positions have changed.
    """

    def __init__(self, model: Steps, max_new_tokens: int, memory: Any = None):
        self.model, self.max_new_tokens, self.memory = model, max_new_tokens, memory
        self.rows: list[list[int]] = []  # all token ids of each sequence
        self._begins = np.empty(0, np.int64)  # where each sequence's window begins
        self._states: Sequence[State] = []
        self._has_warned = False

    def start(self, prompts: Sequence[np.ndarray]) -> np.ndarray:
        """Read prompts; return the logits after each, (batch, vocab_size)."""
        self.rows = [[int(token) for token in prompt] for prompt in prompts]
        # the last new token is never read
        longest = max(map(len, self.rows)) + self.max_new_tokens - 1
        self._states = self.model.new_states(
            len(self.rows), min(longest, self.model.context_length)
        )
        self._begins = self._window_starts()
        return self._read(0, len(self.rows), self._states)

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Add a token to each sequence; return the logits after it, (batch, vocab_size)."""
        for row, token in zip(self.rows, tokens, strict=True):
            row.append(int(token))
        begins = self._window_starts()
        moved = begins != self._begins
        self._begins = begins
        if moved.all():
            return self._read(0, len(self.rows), self._fresh(0, len(self.rows)))
        self._set_lengths(np.array(list(map(len, self.rows))) - begins - 1)
        # a row that has moved takes part, unused, and is read again after it
        logits = self.model.step(np.asarray(tokens), self._states)
        for place in map(int, np.flatnonzero(moved)):
            logits[place] = self._read(place, place + 1, self._fresh(place, place + 1))[0]
        return logits

    def reorder(self, rows: np.ndarray) -> None:
        """Let sequence ``i`` go on from sequence ``rows[i]``."""
        self.rows = [list(self.rows[row]) for row in rows]
        self._begins = self._begins[rows]
        length = max(len(row) - begin for row, begin in zip(self.rows, self._begins, strict=True))
        for state in self._states:
            state.reorder(rows, length)

    def _window_starts(self) -> np.ndarray:
        context = self.model.context_length
        begins = np.array([window_start(len(row), context) for row in self.rows])
        if begins.any() and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"The text is longer than the context of {context} tokens: the oldest are "
                "forgotten.",
                ContextWarning,
                stacklevel=2,
            )
        return begins

    def _fresh(self, begin: int, end: int) -> list[State]:
        return [state.rows(begin, end) for state in self._states]

    def _read(self, begin: int, end: int, states: Sequence[State]) -> np.ndarray:
        """Read the windows of some sequences from their beginning."""
        windows = [
            row[first:]
            for row, first in zip(self.rows[begin:end], self._begins[begin:end], strict=True)
        ]
        lengths = np.array([len(window) for window in windows])
        token_ids = np.zeros((len(windows), lengths.max()), np.int64)  # padded at the end
        for row, window in zip(token_ids, windows, strict=True):
            row[: len(window)] = window
        return self.model.start(token_ids, lengths, states, self.memory)

    def _set_lengths(self, lengths: np.ndarray) -> None:
        for state in self._states:
            state.lengths = lengths

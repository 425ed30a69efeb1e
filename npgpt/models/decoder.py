"""A GPT that reads token after token and keeps what attention needs of those before."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from npgpt import ops
from npgpt.generation import ContextWarning, window_start
from npgpt.layers import KeyValueCache

if TYPE_CHECKING:
    from npgpt.models.gpt import GPT


class Decoder:
    """Logits of the next token, step by step, with keys and values kept.

    Parameters
    ----------
    model : GPT
        In evaluation mode.
    max_new_tokens : int
        How many tokens will follow the prompts, for the size of the cache.

    Notes
    -----
    Prompts of different lengths are padded at their end while they are read: causal attention does
    not let a position see what comes after it, so padding changes nothing, and it is never kept. A
    sequence that outgrows the context loses its oldest tokens, a quarter of the context at a time,
    and what is left is read again: its positions have changed.
    """

    def __init__(self, model: GPT, max_new_tokens: int):
        self.model, self.max_new_tokens = model, max_new_tokens
        self.context_length = model.config.context_length
        self.rows: list[list[int]] = []  # all token ids of each sequence
        self._begins = np.empty(0, np.int64)  # where each sequence's window begins
        self._caches: list[KeyValueCache] = []
        self._has_warned = False

    def start(self, prompts: Sequence[np.ndarray]) -> np.ndarray:
        """Read prompts; return the logits after each, (batch, vocab_size)."""
        self.rows = [[int(token) for token in prompt] for prompt in prompts]
        # the last new token is never read
        longest = max(map(len, self.rows)) + self.max_new_tokens - 1
        config = self.model.config
        self._caches = [
            KeyValueCache(
                len(self.rows),
                block.attention.n_kv_heads,
                min(longest, self.context_length),
                config.d_model // config.n_heads,
                self.model.dtype,
            )
            for block in self.model.blocks
        ]
        self._begins = self._window_starts()
        return self._read(0, len(self.rows))

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Add a token to each sequence; return the logits after it, (batch, vocab_size)."""
        for row, token in zip(self.rows, tokens, strict=True):
            row.append(int(token))
        begins = self._window_starts()
        moved = begins != self._begins
        self._begins = begins
        lengths = np.array(list(map(len, self.rows))) - begins
        if moved.all():
            return self._read(0, len(self.rows))
        # a row that has moved is read again below; until then its last place takes part, unused
        x = self._embed_one(np.asarray(tokens), np.minimum(lengths, self._capacity) - 1)
        for block, cache in zip(self.model.blocks, self._caches, strict=True):
            cache.lengths = lengths
            x = self._through(block, x, cache)
        logits = self.model.head.forward(self.model.final_norm.forward(x))[:, 0]
        for place in map(int, np.flatnonzero(moved)):
            logits[place] = self._read(place, place + 1)[0]
        return logits

    def reorder(self, rows: np.ndarray) -> None:
        """Let sequence ``i`` go on from sequence ``rows[i]``."""
        self.rows = [list(self.rows[row]) for row in rows]
        self._begins = self._begins[rows]
        length = max(len(row) - begin for row, begin in zip(self.rows, self._begins, strict=True))
        for cache in self._caches:
            cache.reorder(rows, length)

    @property
    def _capacity(self) -> int:
        return self._caches[0].keys.shape[2]

    def _window_starts(self) -> np.ndarray:
        begins = np.array([window_start(len(row), self.context_length) for row in self.rows])
        if begins.any() and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"The text is longer than the context of {self.context_length} tokens: the oldest "
                "are forgotten.",
                ContextWarning,
                stacklevel=2,
            )
        return begins

    def _read(self, begin: int, end: int) -> np.ndarray:
        """Read the windows of some sequences from their beginning."""
        model = self.model
        windows = [
            row[first:]
            for row, first in zip(self.rows[begin:end], self._begins[begin:end], strict=True)
        ]
        lengths = np.array([len(window) for window in windows])
        token_ids = np.zeros((len(windows), lengths.max()), np.int64)  # padded at the end
        for row, window in zip(token_ids, windows, strict=True):
            row[: len(window)] = window
        with ops.Workspace():  # each block's arrays take the place of those of the one before
            x = model.embed(token_ids)
            for block, cache in zip(model.blocks, self._caches, strict=True):
                x = self._through(block, x, cache.rows(begin, end))
                block.forget()
            last = x[np.arange(len(windows)), lengths - 1]  # (batch, d_model)
            logits = model.head.forward(model.final_norm.forward(last))
            model.forget()
        return logits

    def _embed_one(self, tokens: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Embed one token of each sequence, at its position; (batch, 1, d_model)."""
        model, rows = self.model, None
        if model.position_embedding is not None:
            shape = (1, int(positions.max()) + 1, model.config.d_model)
            rows = model.position_embedding.rows_for(shape, model.dtype)[positions]
        # the sequences take the place of time: each has a position of its own
        return model.token_embedding.forward(tokens[None], rows).swapaxes(0, 1)

    def _through(self, block, x: np.ndarray, cache: KeyValueCache) -> np.ndarray:
        block.attention.cache = cache
        try:
            return block.forward(x)
        finally:
            block.attention.cache = None

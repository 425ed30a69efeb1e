"""What generation asks of a model: logits after prompts, then after one more token each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np


class ContextWarning(UserWarning):
    """A text outgrows the model's context: its oldest tokens will be forgotten."""


class StepByStep(Protocol):
    """Reads prompts, then token after token."""

    def start(self, prompts: Sequence[np.ndarray]) -> np.ndarray:
        """Read prompts; return the logits after each, (batch, vocab_size)."""

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Add a token to each sequence; return the logits after it, (batch, vocab_size)."""

    def reorder(self, rows: np.ndarray) -> None:
        """Let sequence ``i`` go on from sequence ``rows[i]``."""


class EveryTime:
    """Asks a function for the logits of the whole sequences at every step.

    Parameters
    ----------
    next_logits : function
        From token ids, (batch, time), to the logits of the next token, (batch, vocab_size).
    """

    def __init__(self, next_logits: Callable[[np.ndarray], np.ndarray]):
        self.next_logits = next_logits
        self.rows: list[np.ndarray] = []

    def start(self, prompts: Sequence[np.ndarray]) -> np.ndarray:
        """Read prompts; return the logits after each, (batch, vocab_size)."""
        self.rows = [np.asarray(prompt) for prompt in prompts]
        return self._logits()

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Add a token to each sequence; return the logits after it, (batch, vocab_size)."""
        self.rows = [np.append(row, token) for row, token in zip(self.rows, tokens, strict=True)]
        return self._logits()

    def reorder(self, rows: np.ndarray) -> None:
        """Let sequence ``i`` go on from sequence ``rows[i]``."""
        self.rows = [self.rows[row] for row in rows]

    def _logits(self) -> np.ndarray:
        if len({len(row) for row in self.rows}) == 1:
            return self.next_logits(np.stack(self.rows))
        return np.concatenate([self.next_logits(row[None].copy()) for row in self.rows])


def window_start(length: int, context_length: int) -> int:
    """Say where the window of a sequence begins, so that it fits in the context.

    It moves by a quarter of the context at a time, because everything in it must be read again
    when it moves.

    Parameters
    ----------
    length : int
        Of the sequence.
    context_length : int
        Of the model.
    """
    if length <= context_length:
        return 0
    step = max(1, context_length // 4)
    return -(-(length - context_length) // step) * step


def prompts_of(token_ids: Any, attention_mask=None) -> list[np.ndarray]:
    """Take one sequence, a batch, or a list of sequences; return a list without padding.

    Parameters
    ----------
    token_ids : sequence of int, ndarray, or list of them
    attention_mask : ndarray, shape of ``token_ids``, optional
        0 where there is padding, 1 elsewhere.

    Raises
    ------
    ValueError
        If a prompt is empty or a text, or the mask does not fit or has holes.
    """
    if not isinstance(token_ids, str | list | tuple) and np.ndim(token_ids) == 0:
        raise ValueError(
            f"generate: the prompt must be a sequence of token ids, such as [{token_ids!r}], got "
            f"{token_ids!r}."
        )
    if isinstance(token_ids, str) or any(isinstance(row, str) for row in token_ids):
        raise ValueError(
            "generate: the prompt must be token ids, not text; encode it with the tokenizer first."
        )
    rows = list(token_ids)
    if rows and np.ndim(rows[0]) == 0:
        rows = [token_ids]
    prompts = [np.asarray(row) for row in rows]
    if attention_mask is not None:
        mask = np.atleast_2d(np.asarray(attention_mask)).astype(bool)
        if mask.shape != (len(prompts), *prompts[0].shape):
            raise ValueError(
                f"generate: attention_mask must have the shape of the token ids, got {mask.shape}."
            )
        for row in mask:
            if row.any() and not row[row.argmax() : len(row) - row[::-1].argmax()].all():
                raise ValueError(
                    "generate: attention_mask may be 0 at the ends of a row only, not within it."
                )
        prompts = [prompt[row] for prompt, row in zip(prompts, mask, strict=True)]
    for prompt in prompts:
        if prompt.ndim != 1 or prompt.size == 0:
            raise ValueError("generate: the prompt must have at least one token.")
        if prompt.dtype.kind not in "iu":
            raise ValueError(f"generate: token ids must be integers, got dtype {prompt.dtype}.")
    if not prompts:
        raise ValueError("generate: the prompt must have at least one token.")
    return [prompt.astype(np.int64) for prompt in prompts]

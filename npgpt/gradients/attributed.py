"""What attribution finds: a logit as parts, of the input's tokens or of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from npgpt.fields import ShortRepr
from npgpt.html_table import html_table, tinted
from npgpt.text_table import text_table


@dataclasses.dataclass(frozen=True, repr=False)
class TokenAttribution(ShortRepr):
    """How much each input token contributes to one logit.

    Attributes
    ----------
    values : ndarray, shape (time,)
    logit : float
        The logit that is explained.
    baseline_logit : float or None
        The logit at the baseline, where there is one; ``values`` then sum to the difference.
    tokens : sequence of str
        Their texts, if `with_tokens` was told them; a notebook shows them in the values' colours.
    """

    values: np.ndarray
    logit: float
    baseline_logit: float | None = None
    tokens: Sequence[str] = ()

    def with_tokens(self, tokens: Sequence[str]) -> TokenAttribution:
        """Return the same numbers beside the texts of the tokens, one for each.

        Raises
        ------
        ValueError
            If there are more tokens than values, or fewer.

        Examples
        --------
        >>> TokenAttribution(np.array([0.5, -1.0]), 2.0).with_tokens(["The", " cat"]).tokens
        ('The', ' cat')
        """
        if len(tokens) != len(self.values):
            raise ValueError(
                f"TokenAttribution: {len(self.values)} values need as many tokens, got "
                f"{len(tokens)}; tokens = [tokenizer.decode([i]) for i in ids] makes them."
            )
        return dataclasses.replace(self, tokens=tuple(map(str, tokens)))

    @property
    def gap(self) -> float:
        """How far the sum is from the difference of logits: the error of the integral."""
        if self.baseline_logit is None:
            raise ValueError("TokenAttribution: without a baseline there is no sum to compare.")
        return float(self.values.sum() - (self.logit - self.baseline_logit))

    def _repr_html_(self) -> str:
        title = f"Attribution of a logit of {self.logit:+.4f} to tokens"
        if self.baseline_logit is not None:
            title += f", from {self.baseline_logit:+.4f} at the baseline"
        rows: list[tuple[object, ...]] = [
            (position, f"{value:+.4f}") for position, value in enumerate(self.values)
        ]
        header, footer = ["position", "value"], ["sum", f"{self.values.sum():+.4f}"]
        if not self.tokens:
            return html_table(title, header, rows, footer, numbers=[0, 1])
        rows = [(*row, repr(token)) for row, token in zip(rows, self.tokens, strict=True)]
        table = html_table(title, [*header, "token"], rows, [*footer, ""], numbers=[0, 1])
        return tinted(self.tokens, self.values) + table


@dataclasses.dataclass(frozen=True, repr=False)
class LogitParts(ShortRepr):
    """A logit as a sum of what each part of the model writes to the residual stream.

    Attributes
    ----------
    names : list of str
        ``embeddings``; ``blocks.N.attention.head.M`` and ``blocks.N.attention.bias``;
        ``blocks.N.feed_forward``; ``final_norm.beta``.
    values : ndarray, shape (len(names),)
    logit : float
        Their sum, to rounding.
    """

    names: list[str]
    values: np.ndarray
    logit: float

    def sorted(self) -> list[tuple[str, float]]:
        """List the parts with their values, the largest magnitude first."""
        order = np.argsort(-np.abs(self.values), kind="stable")
        return [(self.names[i], float(self.values[i])) for i in order]

    def _repr_html_(self) -> str:
        rows = [(name, f"{value:+.4f}") for name, value in self.sorted()]
        total = ("logit", f"{self.logit:+.4f}")
        return html_table("Parts of a logit", ("part", "value"), rows, footer=total, numbers=[1])

    def __str__(self) -> str:
        rows = [*self.sorted(), ("logit", self.logit)]
        return text_table((), [(name, f"{value:+.4f}") for name, value in rows])


def one_sequence(token_ids: ArrayLike) -> np.ndarray:
    """Make a batch of one sequence, (1, time).

    Parameters
    ----------
    token_ids : ndarray of int, shape (time,)

    Raises
    ------
    ValueError
        If it has another shape, or no token.
    """
    ids = np.asarray(token_ids)
    if ids.ndim != 1 or not ids.size:
        raise ValueError(f"attribution: token ids must have shape (time,), got {ids.shape}.")
    return ids[None]


def index_in(what: str, index: int, size: int) -> int:
    """Count an index from 0.

    Parameters
    ----------
    what : str
        Its name.
    index : int
        Negative from the end.
    size : int

    Raises
    ------
    ValueError
        If nothing is there.
    """
    if not -size <= index < size:
        raise ValueError(f"attribution: {what} {index} is outside 0 to {size - 1}.")
    return index % size


def token_of(logits: np.ndarray, token: int | None) -> int:
    """Return a token that is there, or the likeliest one.

    Parameters
    ----------
    logits : ndarray, shape (vocab_size,)
    token : int, optional
    """
    return int(np.argmax(logits)) if token is None else index_in("token", token, len(logits))

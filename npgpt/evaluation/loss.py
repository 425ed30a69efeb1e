"""How well a model predicts held-out text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np

from npgpt.models import Model

Batches = Iterable[tuple[np.ndarray, ...]]


class Interrupted(Exception):
    """Somebody asked the run to stop."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Loss over a set of target tokens.

    Attributes
    ----------
    loss : float
        Mean cross-entropy in nats a token.
    tokens : int
        Targets that counted: tokens, or what else the model's loss is the mean of.
    num_bytes : int, optional
        Bytes of UTF-8 that those tokens stand for.
    """

    loss: float
    tokens: int
    num_bytes: int | None = None

    @property
    def perplexity(self) -> float:
        """``exp(loss)``: the size of a uniform choice that is as hard."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def bits_per_byte(self) -> float | None:
        """Bits to code one byte of text: comparable between tokenizers."""
        if not self.num_bytes:
            return None
        return self.loss * self.tokens / math.log(2.0) / self.num_bytes


def evaluate(
    model: Model,
    batches: Batches,
    bytes_per_token: np.ndarray | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Compute the mean loss over batches, without dropout.

    Parameters
    ----------
    model : Model
        Left in the mode it was in.
    batches : iterable of tuples of ndarray
        One without a target that counts is left out.
    bytes_per_token : ndarray of int, shape (vocab_size,), optional
        Each token's length in bytes; gives bits per byte.
    should_stop : function
        Asked between batches; when true, `Interrupted` is raised.
    on_batch : function
        Called after each batch.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If no target counts, or bytes are asked for and the loss is no mean over tokens.
    """
    nats, tokens, num_bytes = 0.0, 0, 0
    with model.evaluating():
        for batch in batches:
            if should_stop():
                raise Interrupted
            count = model.num_targets(*batch)
            if count:
                nats += float(model.evaluation_loss(*batch)) * count
            tokens += count
            if bytes_per_token is not None:
                num_bytes += _num_bytes(model, batch, count, bytes_per_token)
            on_batch()
    if not tokens:
        raise ValueError("evaluate: there is no target to evaluate on.")
    return Evaluation(nats / tokens, tokens, num_bytes if bytes_per_token is not None else None)


def _num_bytes(
    model: Model, batch: tuple[np.ndarray, ...], count: int, bytes_per_token: np.ndarray
) -> int:
    """Count the bytes that the targets of a batch stand for."""
    targets = np.asarray(getattr(model.Batch(*batch), "targets", np.empty(0, int)))
    ids = targets[targets >= 0]
    if ids.size != count:
        raise ValueError(
            f"evaluate: the loss of a {type(model).__name__} is not the mean over tokens, so it "
            "has no bits per byte; leave out bytes_per_token."
        )
    return int(bytes_per_token[ids].sum())

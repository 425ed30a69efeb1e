"""What a model is: layers with a loss, as the trainer, the laboratory and runs ask for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from npgpt.fields import Settings, option, short_repr
from npgpt.generation.generates import Generates
from npgpt.layers import Dropout, Layer
from npgpt.layers.block_config import MODEL
from npgpt.ops import IGNORE_INDEX


@dataclasses.dataclass(frozen=True)
class ModelConfig(Settings):
    """What the config of every model of tokens has.

    Parameters
    ----------
    vocab_size : int
        Number of tokens.
    context_length : int
        Longest sequence.
    """

    vocab_size: int = option(MODEL, minimum=1)
    context_length: int = option(MODEL, names=("--context-length", "--context"), minimum=1)


class TokenBatch(NamedTuple):
    """Token ids and the tokens that follow them, each (batch, time); -100 does not count."""

    token_ids: np.ndarray
    targets: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class MaskedBatch(NamedTuple):
    """Texts with masked words.

    Parameters
    ----------
    token_ids : ndarray of int, shape (batch, time)
        Padded at the end with any ids.
    targets : ndarray of int, shape (batch, time)
        What stood in the places of the masked words; -100 elsewhere.
    segments : ndarray of int, shape (batch, time), optional
        To which segment each token belongs; all to the first one by default.
    lengths : ndarray of int, shape (batch,), optional
        Tokens of each text; by default nothing is padded.
    """

    token_ids: np.ndarray
    targets: np.ndarray
    segments: np.ndarray | None = None
    lengths: np.ndarray | None = None

    def __repr__(self) -> str:
        return short_repr(self)


class PairBatch(NamedTuple):
    """Sources, and the targets that they are translated to, word by word under teacher forcing.

    Parameters
    ----------
    source_ids : ndarray of int, shape (batch, source)
        Padded at the end with any ids.
    source_lengths : ndarray of int, shape (batch,)
        How many of each source are there.
    target_ids : ndarray of int, shape (batch, time)
        What the decoder reads: the start token, and the target without its end token.
    targets : ndarray of int, shape (batch, time)
        What it predicts: the target and its end token; -100 where the row is padded.
    """

    source_ids: np.ndarray
    source_lengths: np.ndarray
    target_ids: np.ndarray
    targets: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def checked_ids(token_ids: Any, who: str) -> np.ndarray:
    """Return token ids as an array of shape (batch, time).

    Raises
    ------
    ValueError
        If they have another number of axes, or an axis is empty.
    """
    try:
        ids = np.asarray(token_ids)
    except ValueError:
        raise ValueError(
            f"{who}: token ids must have shape (batch, time), got rows of different lengths; pad "
            "them to one."
        ) from None
    if ids.ndim != 2 or 0 in ids.shape:
        hint = "; ids[None] makes a batch of one sequence" if ids.ndim == 1 and ids.size else ""
        if ids.dtype.kind in "US":
            hint = "; encode the text with the tokenizer first"
        raise ValueError(
            f"{who}: token ids must have shape (batch, time), neither 0, got {ids.shape}{hint}."
        )
    return ids


def num_filled(targets: np.ndarray) -> int:
    """Count the places of rows up to the last target that counts; behind it a row is filled up.

    Examples
    --------
    >>> num_filled(np.array([[-100, 7, 8, -100], [9, -100, -100, -100]]))
    4
    """
    counted = np.asarray(targets) != IGNORE_INDEX
    lengths = counted.shape[-1] - counted[..., ::-1].argmax(axis=-1)
    return int(lengths[counted.any(axis=-1)].sum())


class Model(Layer):
    """A model with a loss over batches.

    A family of models defines `loss` and `backward`; the other methods have a plain form here,
    which a family may replace by a faster one.

    Attributes
    ----------
    kind : str
        The family's name in ``config.json``, on the command line, and in `MODELS`.
    Config : type
        The dataclass that describes its shape.
    Batch : type
        A NamedTuple: the arguments of `loss`. Any tuple of the same arrays is a batch too.
    config : Config
    carries_state : bool
        Whether the loss takes ``begins``, as `npgpt.models.StatefulModel` does: a run with ``bptt``
        hands its streams to such a family.
    """

    kind: ClassVar[str] = ""
    Config: ClassVar[type]
    Batch: ClassVar[type]
    carries_state: ClassVar[bool] = False
    config: Any

    def extra_repr(self) -> str:
        """Return how many parameters there are, for ``repr``."""
        dtypes = ", ".join(sorted({str(p.value.dtype) for p in self.parameters()}))
        return f"{self.num_parameters():,} parameters" + (f", {dtypes}" if dtypes else "")

    def loss(self, *batch: Any, **named: Any) -> Any:
        """Compute the mean loss of a batch; `backward` may follow."""
        raise TypeError(f"{type(self).__name__} has no loss; a model must define one.")

    def backward(self, dloss: float = 1.0) -> None:
        """Add the gradient of the last `loss`, times ``dloss``, to every parameter's ``.grad``."""
        raise TypeError(f"{type(self).__name__} has no backward; a model must define one.")

    def loss_and_backward(self, *batch: Any, **named: Any) -> Any:
        """Compute the mean loss of a batch, and add its gradient, times ``dloss``.

        ``dloss`` is 1 unless given by its name.
        """
        dloss = named.pop("dloss", 1.0)
        loss = self.loss(*batch, **named)
        self.backward(dloss)
        return loss

    def evaluation_loss(self, *batch: Any, **named: Any) -> Any:
        """Compute the mean loss of a batch when no backward follows."""
        return self.loss(*batch, **named)

    def num_targets(self, *batch: Any, **named: Any) -> int:
        """Count what the loss of a batch is the mean of."""
        raise TypeError(f"{type(self).__name__} has no num_targets; a model must define it.")

    def num_tokens(self, *batch: Any, **named: Any) -> int:
        """Count the tokens that a batch holds, what fills its rows up left out.

        Here all of the batch's first array are; a family whose batches are padded says otherwise.
        """
        return int(np.size([*batch, *named.values()][0]))

    # --- dropout's place in its random stream, which a checkpoint keeps -------------------------

    @property
    def dropout_step(self) -> int:
        """Number of training forward passes that drew dropout masks; 0 without dropout."""
        steps = [layer.step for layer in self.layers() if isinstance(layer, Dropout)]
        return max(steps, default=0)

    @dropout_step.setter
    def dropout_step(self, step: int) -> None:
        for layer in self.layers():
            if isinstance(layer, Dropout):
                layer.step = step

    # --- what is carried from one training batch to the next, which a checkpoint keeps too -----

    def carried_state(self) -> dict[str, np.ndarray]:
        """Return what the next training batch begins with, by name; empty if with nothing."""
        return {}

    def load_carried_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Begin the next training batch with what `carried_state` returned.

        Parameters
        ----------
        arrays : mapping of str to ndarray

        Raises
        ------
        ValueError
            If they are not this model's.
        """
        if arrays:
            raise ValueError(
                f"{type(self).__name__} carries no state, got one of {', '.join(arrays)}."
            )


class LanguageModel(Generates, Model):
    """A model that gives the logits of the next token, of whole texts or step by step."""

    def log_likelihood(self, prompt, continuation) -> float:
        """Compute the logarithm of the probability that the prompt goes on like this, in nats.

        ``sum_t log p(continuation_t | prompt, continuation_1 .. continuation_t-1)``, without
        dropout. Divided by the number of tokens and negated it is the continuation's loss.

        Parameters
        ----------
        prompt : array_like of int, shape (time,)
            At least one token; ``<|endoftext|>`` for the beginning of a text. Of a long one the
            last tokens count, as many as the context has room for.
        continuation : array_like of int, shape (time,)
            At most ``context_length`` tokens.

        Raises
        ------
        ValueError
            If either is empty, or the continuation longer than the context.

        Examples
        --------
        >>> import npgpt
        >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=1, n_heads=1, d_model=4))
        >>> both = model.log_likelihood([1, 2], [3, 4])
        >>> step_by_step = model.log_likelihood([1, 2], [3]) + model.log_likelihood([1, 2, 3], [4])
        >>> abs(both - step_by_step) < 1e-5
        True
        """
        prompt, continuation = np.atleast_1d(prompt), np.atleast_1d(continuation)
        what = f"{type(self).__name__}.log_likelihood"
        if prompt.ndim != 1 or continuation.ndim != 1 or not prompt.size or not continuation.size:
            raise ValueError(
                f"{what}: prompt and continuation must be sequences of at least one token, got "
                f"shapes {prompt.shape} and {continuation.shape}."
            )
        if continuation.size > self.context_length:
            raise ValueError(
                f"{what}: a continuation of {continuation.size} tokens is longer than the context "
                f"of {self.context_length}."
            )
        token_ids = np.concatenate([prompt, continuation])[-self.context_length - 1 :]
        targets = token_ids[1:].copy()
        targets[: -continuation.size] = IGNORE_INDEX
        with self.evaluating():
            loss = self.evaluation_loss(token_ids[None, :-1], targets[None])
        return -float(loss) * continuation.size


Trainable = Model  # its name in earlier versions

MODELS: dict[str, type[Model]] = {}  # families by their kind
Family = TypeVar("Family", bound=type[Model])


def register(family: Family) -> Family:
    """Put a family of models into `MODELS`; a decorator of its class.

    Raises
    ------
    ValueError
        If its ``kind`` is that of another one.
    """
    if MODELS.setdefault(family.kind, family) is not family:
        raise ValueError(f"register: there is a model of kind {family.kind!r} already.")
    return family


def family_of(config_class: type) -> Any:
    """Return the class of the models that the configs of a class describe."""
    return next(family for family in MODELS.values() if family.Config is config_class)

"""Language models that go on with a text where the batch before has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from npgpt.fields import short_repr
from npgpt.layers.recurrent import States
from npgpt.models.unbounded import UnboundedModel


class StreamBatch(NamedTuple):
    """The next piece of several streams, as `npgpt.data.TokenStreams` makes it.

    Attributes
    ----------
    token_ids, targets : ndarray of int, shape (batch, time)
        Targets of -100 do not count.
    begins : ndarray of bool, shape (batch,), optional
        Rows whose stream begins here; the others go on from the state that their row of the batch
        before has left. Without it each row is a text of its own, and no state is carried.
    """

    token_ids: np.ndarray
    targets: np.ndarray
    begins: np.ndarray | None = None

    def __repr__(self) -> str:
        return short_repr(self)


class StatefulModel(UnboundedModel):
    """Base of models that carry their state from one batch to the next, without its gradient.

    With pieces of streams as batches that is truncated backpropagation through time (Mikolov et al.
    2010, Interspeech): forward, a stream is one text; backward ends at the beginning of each piece,
    because the state there is a number like any other, ``h_before = stop_gradient(h_after)`` of the
    batch before.

    A family asks `_before` for the states to begin with, and gives those it ends with to `_carry`.

    Attributes
    ----------
    STATE_NAMES : tuple of str
        What the arrays of a state are called in a checkpoint.

    Notes
    -----
    Training and evaluation each carry a state of their own, so that an evaluation in the middle of
    training leaves the one of training as it is. Generation begins from states that it is given.
    A batch in which no target counts is left out by training and evaluation, and moves no state.
    """

    Batch = StreamBatch
    CHANGES = ("_carried",)
    STATE_NAMES: ClassVar[tuple[str, ...]] = ("h",)
    carries_state = True

    _begins: Any = None  # of the batch whose loss is being computed

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._carried: dict[bool, States] = {}  # by whether it is that of training

    def loss(self, token_ids, targets, begins=None) -> np.floating:
        """Compute the mean cross-entropy of the targets, in nats; `backward` may follow.

        Parameters
        ----------
        token_ids, targets, begins
            As of `StreamBatch`.

        Raises
        ------
        ValueError
            If rows go on and no batch, or one of another size, was before them.
        """
        with self._going_on(begins):
            return super().loss(token_ids, targets)

    def loss_and_backward(self, *batch: Any, **named: Any) -> np.floating:
        """Compute `loss` and do `backward` in one go; see `NextTokenModel.loss_and_backward`.

        Parameters
        ----------
        *batch, **named
            As of `StreamBatch`, and by its name ``dloss``, as of `backward`.
        """
        dloss = named.pop("dloss", 1.0)
        token_ids, targets, begins = StreamBatch(*batch, **named)
        with self._going_on(begins):
            return super().loss_and_backward(token_ids, targets, dloss)

    def evaluation_loss(self, token_ids, targets, begins=None) -> np.floating:
        """Compute `loss` a chunk of logits at a time, when no `backward` follows.

        Parameters
        ----------
        token_ids, targets, begins
            As of `StreamBatch`.
        """
        with self._going_on(begins):
            return super().evaluation_loss(token_ids, targets)

    def num_targets(self, token_ids, targets, begins=None) -> int:
        """Count the targets that are not ignored: what the loss is the mean of."""
        return super().num_targets(token_ids, targets)

    def num_tokens(self, token_ids, targets, begins=None) -> int:
        """Count the tokens up to each row's last target: those behind it change nothing."""
        return super().num_tokens(token_ids, targets)

    # --- the state that is carried --------------------------------------------------------------

    def carried_state(self) -> dict[str, np.ndarray]:
        """Return the state from which training goes on; see `Model.carried_state`."""
        return dict(zip(self.STATE_NAMES, self._carried.get(True, ()), strict=False))

    def load_carried_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Let training go on from a saved state; see `Model.load_carried_state`.

        Parameters
        ----------
        arrays : mapping
            Each (n_layers, batch, d_model).
        """
        shapes = {name: array.shape for name, array in arrays.items()}
        rows = max((shape[1] for shape in shapes.values() if len(shape) == 3), default=0)
        shape = self.config.n_layers, rows, self.config.d_model
        if shapes and shapes != dict.fromkeys(self.STATE_NAMES, shape):
            raise ValueError(
                f"{type(self).__name__}: expected a carried state of {', '.join(self.STATE_NAMES)} "
                f"of shape ({shape[0]}, batch, {shape[2]}), got {shapes}."
            )
        self._carried = {True: tuple(arrays[name] for name in self.STATE_NAMES)} if shapes else {}

    @contextlib.contextmanager
    def _going_on(self, begins: Any) -> Iterator[None]:
        self._begins = begins
        try:
            yield
        finally:
            self._begins = None

    def _before(self, rows: int) -> States | None:
        """Return the states before the first position of a batch; None if they are all 0."""
        if self._begins is None:
            return None
        who, begins = type(self).__name__, np.asarray(self._begins)
        if begins.shape != (rows,) or begins.dtype.kind != "b":
            raise ValueError(
                f"{who}: expected begins of shape ({rows},), booleans, got {begins.dtype} of shape "
                f"{begins.shape}."
            )
        if begins.all():
            return None
        carried = self._carried.get(self.training)
        if carried is None or carried[0].shape[1] != rows:
            before = "none" if carried is None else f"one of {carried[0].shape[1]} rows"
            raise ValueError(
                f"{who}: streams go on from the batch before, and there was {before} before this "
                f"batch of {rows} rows; begins must be True at the beginning of each stream."
            )
        return tuple(np.where(begins[:, None], states.dtype.type(0), states) for states in carried)

    def _carry(self, after: States) -> None:
        """Let the next batch go on from these states, if this one is of streams."""
        if self._begins is not None:
            self._carried[self.training] = after

"""The training loop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.data import DataLoader
from npgpt.evaluation.loss import Batches, Interrupted, evaluate
from npgpt.fields import check_real, check_whole
from npgpt.models import Model
from npgpt.optim import AdamW, Optimizer, Schedule, WarmupCosine
from npgpt.training.callbacks import Callback, EvaluationMetrics, StepMetrics
from npgpt.training.checkpoints import load_checkpoint, save_checkpoint, with_prefix, without_prefix
from npgpt.training.interrupt import StopRequest, stop_requests
from npgpt.training.step import train_step

LAST, BEST = "last.safetensors", "best.safetensors"


@dataclasses.dataclass
class TrainingState:
    """Where a run stands, apart from its arrays.

    Attributes
    ----------
    step : int
        Optimiser steps done.
    evaluated_step : int
        Step of the last evaluation; -1 before the first.
    best_loss : float
        Lowest held-out loss, in nats a token; infinity before the first evaluation.
    best_step : int
    evaluations_since_best : int
    """

    step: int = 0
    evaluated_step: int = -1
    best_loss: float = math.inf
    best_step: int = -1
    evaluations_since_best: int = 0


class Trainer:
    """Train a model on batches: accumulate gradients, clip, step, evaluate, checkpoint.

    Parameters
    ----------
    model : Model
        Such as `npgpt.GPT`; its frozen parameters are not part of a checkpoint.
    train_loader : DataLoader
        Read endlessly, epoch after epoch.
    val_loader : iterable of batches, optional
        Held-out batches, read from the start at each evaluation. Without it there is no evaluation,
        and "best" is not written.
    steps : int
        Optimiser steps in all, those of earlier sessions included.
    optimizer : Optimizer, optional
        `AdamW` with its defaults when None.
    schedule : function, optional
        From the step, counted from 0, to the learning rate. When None: a warm-up over the first
        twentieth of the steps to the optimiser's ``lr``, then a cosine to a tenth of it.
    grad_accumulation : int
        Batches whose mean gradient makes one step.
    clip_norm : float
        Largest global gradient norm; 0 does not clip.
    scores : function, optional
        Gives further held-out numbers by name, such as an accuracy, after each evaluation.
    patience : int
        Stop early after so many evaluations in a row without a lower held-out loss; 0 never does.
    eval_every : int
        Steps between evaluations. Each is followed by a checkpoint; so is the last step.
    folder : Path, optional
        Where ``last.safetensors`` and ``best.safetensors`` go; without it nothing is written.
    callbacks : sequence of Callback

    Attributes
    ----------
    state : TrainingState
    history : list of EvaluationMetrics
        Of this session.

    Raises
    ------
    ValueError
        If a number is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> windows = npgpt.data.TokenWindows(np.arange(500) % 7, context_length=8)
    >>> loader = npgpt.data.DataLoader(windows, batch_size=4, shuffle=True)
    >>> config = npgpt.GPTConfig(vocab_size=7, context_length=8, n_layers=1, n_heads=2, d_model=16)
    >>> trainer = npgpt.Trainer(npgpt.GPT(config), loader, loader, steps=3, eval_every=3)
    >>> trainer.fit().step
    3
    """

    def __init__(
        self,
        model: Model,
        train_loader: DataLoader,
        val_loader: Batches | None = None,
        *,
        steps: int = 1000,
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        grad_accumulation: int = 1,
        clip_norm: float = 1.0,
        eval_every: int = 250,
        scores: Callable[[], dict[str, float]] = dict,
        patience: int = 0,
        folder: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
    ):
        counts = {"steps": steps, "grad_accumulation": grad_accumulation, "eval_every": eval_every}
        check_whole("Trainer", 1, **counts)
        check_whole("Trainer", patience=patience)
        check_real("Trainer", clip_norm=clip_norm)
        _check_kinds(model, train_loader, schedule, scores, callbacks)
        self.model, self.train_loader, self.val_loader = model, train_loader, val_loader
        self.steps = steps
        self.optimizer = optimizer or AdamW(model.parameters())
        lr = self.optimizer.lr
        self.schedule = schedule or WarmupCosine(lr, 0.1 * lr, steps // 20, steps)
        self.grad_accumulation, self.clip_norm = grad_accumulation, clip_norm
        self.eval_every, self.scores, self.patience = eval_every, scores, patience
        self.folder = Path(folder) if folder is not None else None
        self.callbacks = list(callbacks)
        self.state = TrainingState()
        self.history: list[EvaluationMetrics] = []
        self.stopped_by: int | None = None

    def __repr__(self) -> str:
        done = f"{self.state.step} of {self.steps} steps"
        return f"Trainer({type(self.model).__name__}, {self.train_loader!r}, {done})"

    def fit(self) -> TrainingState:
        """Train until ``steps`` are done, or until SIGINT or SIGTERM asks to stop.

        A request is honoured after the step in progress: the state is saved, and
        ``trainer.stopped_by`` holds the signal.

        Returns
        -------
        TrainingState

        Raises
        ------
        RuntimeError
            If the loss is no longer finite. The checkpoint on disk is from before that.
        """
        # stop_requests before all else, so that an early Ctrl-C is heard too
        with stop_requests() as stop, ops.Workspace():
            try:
                self.model.train()
                for callback in self.callbacks:
                    callback.on_start(self)
                self._loop(stop)
            finally:
                self.stopped_by = stop.signal
                for callback in self.callbacks:
                    callback.on_end(self)
        return self.state

    def _loop(self, stop: StopRequest) -> None:
        batches = self.train_loader.forever()
        while not stop:
            if self._evaluation_is_due():
                try:
                    self._evaluate(stop)
                except Interrupted:
                    break
                self.save()
            if self.state.step >= self.steps or self.is_stopped_early():
                return
            metrics = self._step(batches)
            for callback in self.callbacks:
                callback.on_step(self, metrics)
        self.save()

    def is_stopped_early(self) -> bool:
        """Tell whether the held-out loss has not improved for ``patience`` evaluations."""
        return 0 < self.patience <= self.state.evaluations_since_best

    def _evaluation_is_due(self) -> bool:
        step = self.state.step
        due = step % self.eval_every == 0 or step == self.steps
        return due and self.state.evaluated_step < step

    def _step(self, batches) -> StepMetrics:
        began = time.perf_counter()
        for callback in self.callbacks:
            callback.on_step_start(self)
        step = self.state.step
        self.optimizer.lr = self.schedule(step)
        chosen = [next(batches) for _ in range(self.grad_accumulation)]
        loss, norm = train_step(
            self.model, self.optimizer, chosen, self.clip_norm, self._tell_gradients
        )
        self.state.step = step + 1
        tokens = sum(self.model.num_tokens(*batch) for batch in chosen)
        seconds = time.perf_counter() - began
        return StepMetrics(step + 1, loss, self.optimizer.lr, norm, tokens, seconds)

    def _tell_gradients(self) -> None:
        for callback in self.callbacks:
            callback.on_gradients(self)

    def _evaluate(self, stop: StopRequest) -> None:
        state = self.state
        if self.val_loader is None:
            state.evaluated_step = state.step
            return
        loss = evaluate(self.model, self.val_loader, should_stop=lambda: bool(stop)).loss
        best = loss < state.best_loss
        state.evaluated_step = state.step
        state.evaluations_since_best = 0 if best else state.evaluations_since_best + 1
        if best:
            state.best_loss, state.best_step = loss, state.step
            if self.folder is not None:
                arrays = with_prefix("model", self.model.trained_state_dict())
                save_checkpoint(self.folder / BEST, arrays, {"step": state.step, "loss": loss})
        metrics = EvaluationMetrics(state.step, loss, best, self.scores())
        self.history.append(metrics)
        for callback in self.callbacks:
            callback.on_evaluation(self, metrics)

    # --- checkpoints --------------------------------------------------------------------------

    def save(self) -> None:
        """Write ``last.safetensors``: weights, optimiser, and all that decides the next step."""
        if self.folder is None:
            return
        arrays: dict[str, np.ndarray] = {
            **with_prefix("model", self.model.trained_state_dict()),
            **with_prefix("optimizer", self.optimizer.state_dict()),
            **with_prefix("carried", self.model.carried_state()),
        }
        state: dict[str, Any] = {
            "training": dataclasses.asdict(self.state),
            "loader": self.train_loader.state_dict(),
            "dropout_step": self.model.dropout_step,
        }
        save_checkpoint(self.folder / LAST, arrays, state)

    def resume(self) -> None:
        """Take up the run from ``last.safetensors``; what follows is bit for bit as if it had never
        stopped.

        Raises
        ------
        FileNotFoundError, ValueError
            If the checkpoint is missing, damaged, or of another model or data set.
        """  # noqa: D205
        if self.folder is None:
            raise ValueError("Trainer: resume needs the folder that the run was saved in.")
        path = self.folder / LAST
        arrays, state = load_checkpoint(path)
        try:
            training = TrainingState(**state["training"])
            self.train_loader.load_state_dict(state["loader"])
            self.model.load_trained_state_dict(without_prefix("model", arrays))
            self.optimizer.load_state_dict(without_prefix("optimizer", arrays))
            self.model.load_carried_state(without_prefix("carried", arrays))
            self.model.dropout_step = state["dropout_step"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not fit this run: {error}") from None
        self.state = training


def _check_kinds(model: Any, train_loader: Any, schedule: Any, scores: Any, callbacks: Any) -> None:
    """Raise TypeError for what would fail in the middle of training."""
    for name, thing, fits, expected in (
        ("model", model, isinstance(model, Model), "a model with a loss, such as npgpt.GPT"),
        ("train_loader", train_loader, hasattr(train_loader, "forever"), "a DataLoader"),
        ("schedule", schedule, schedule is None or callable(schedule), "a function of the step"),
        ("scores", scores, callable(scores), "a function without arguments"),
        (
            "callbacks",
            callbacks,
            isinstance(callbacks, Sequence) and all(isinstance(c, Callback) for c in callbacks),
            "a list of instances of npgpt.training.Callback",
        ),
    ):
        if not fits:
            raise TypeError(f"Trainer: {name} must be {expected}, got {thing!r}.")

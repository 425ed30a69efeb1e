"""What the experiments that train models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npgpt.data import DataLoader, TokenWindows
from npgpt.models import Model
from npgpt.runs import RunConfig
from npgpt.runs.run import make_trainer
from npgpt.training import Callback

OnStep = Callable[[str, int, int], None]  # told (which model, steps done, steps in all)


def train_on(
    model: Model, name: str, config: RunConfig, windows: TokenWindows, on_step: OnStep
) -> None:
    """Train a model on windows as a config says.

    Parameters
    ----------
    model : Model
    name : str
        What ``on_step`` is told of it.
    config : RunConfig
    windows : TokenWindows
    on_step : function
        Called with (name, done, total) after each optimiser step.

    Raises
    ------
    KeyboardInterrupt
        If somebody asks to stop.
    """
    loader = DataLoader(windows, config.batch_size, shuffle=True, seed=config.seed)
    callbacks = [_Steps(name, on_step)]
    trainer = make_trainer(model, loader, None, config.optimisation, callbacks=callbacks)
    trainer.fit()
    if trainer.stopped_by is not None:
        raise KeyboardInterrupt


class _Steps(Callback):
    def __init__(self, name: str, on_step: OnStep):
        self._name, self._on_step = name, on_step

    def on_step(self, trainer: Any, metrics: Any) -> None:
        """Tell how far the model is."""
        self._on_step(self._name, metrics.step, trainer.steps)

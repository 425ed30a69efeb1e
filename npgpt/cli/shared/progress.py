"""What a person at a terminal sees while something runs."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from npgpt import ops
from npgpt.cli.shared.console import TextConsole
from npgpt.data import DataLoader, TokenWindows
from npgpt.data.pairs import PairTexts
from npgpt.evaluation.loss import evaluate
from npgpt.fields import names_of
from npgpt.generation import ContextWarning, continuation, sampling_with
from npgpt.models import GPTConfig, LanguageModel, ModelConfig
from npgpt.models.model import PairBatch, family_of
from npgpt.optim import AdamW
from npgpt.tokenizers import Tokenizer
from npgpt.training.callbacks import Callback, EvaluationMetrics, StepMetrics
from npgpt.training.step import train_step

CACHED_LOAD = 2.0  # seconds; from the cache kernels are there by then
COMPILING_TOKENIZER = "(the first time its code is compiled: about 15 seconds)"
TINY = {
    "vocab_size": 4, "context_length": 2, "n_layers": 1, "n_heads": 2, "d_model": 4, "d_ff": 4,
    "n_kv_heads": None, "window": None, "n_encoder_layers": None, "source_vocab_size": None,
}  # fmt: skip
SMOOTHING = 0.9  # of the tokens a second that the bar shows


@contextlib.contextmanager
def unless_soon(say: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Say something if the block still runs after a while; it yields a function that forbids it."""
    timer = threading.Timer(CACHED_LOAD, say)
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


@contextlib.contextmanager
def progress_bar(
    console: TextConsole, label: str, slow_start: str = ""
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block runs; it yields a function of (done, total).

    Nothing is shown when the output is not a terminal. The words ``slow_start`` are added if
    nothing has been done after a while.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(label, total=None)
        slow = f"{label} {slow_start}".strip()
        with unless_soon(lambda: bar.update(task, description=slow)) as has_begun:

            def update(done: int, total: int) -> None:
                has_begun()
                bar.update(task, completed=done, total=total, description=label)

            yield update


@contextlib.contextmanager
def counting_bar(console: TextConsole, label: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar while the block runs; it yields a function to call after each of ``total``."""
    with progress_bar(console, label) as progress:
        done = itertools.count(1)
        yield lambda: progress(next(done), total)


def compile_kernels(console: TextConsole, like: ModelConfig | None = None) -> None:
    """Compile what a training step needs, or load it from the cache of an earlier run.

    Parameters
    ----------
    console : TextConsole
    like : ModelConfig, optional
        Whose choices the step is made of; GPT-2's by default.
    """
    like = like or GPTConfig.gpt2()
    tiny: dict[str, Any] = {n: size for n, size in TINY.items() if n in names_of(type(like))}
    config = dataclasses.replace(like, **tiny)
    with console.status("Loading kernels") as status:
        batches = DataLoader(_tiny_data(config), batch_size=1)
        slow = "Compiling kernels: this takes about 20 seconds, the first time only."
        with unless_soon(lambda: status.update(slow)):
            # a step and an evaluation as of a Trainer, which would take Ctrl-C for its own
            model = family_of(type(config))(config)
            with ops.Workspace():
                evaluate(model, batches)
                train_step(model.train(), AdamW(model.parameters()), [next(batches.forever())])


def _tiny_data(config: ModelConfig) -> TokenWindows | PairTexts:
    """Make data of one token alone, as a model of this kind learns from."""
    if family_of(type(config)).Batch is PairBatch:
        return PairTexts([np.zeros(2, np.int64)], [np.zeros(1, np.int64)], 0, 0)
    return TokenWindows(np.zeros(5, np.uint16), 2)


class TrainingProgress(Callback):
    """A progress bar with loss, learning rate, gradient norm, speed and time left.

    At each evaluation the held-out loss stays on the screen, with a sample of the model's text.
    When the output is not a terminal, only the line of each evaluation is printed.

    Parameters
    ----------
    console : TextConsole
    sample : function, optional
        From the model to a text.
    """

    def __init__(self, console: TextConsole, sample: Callable[[Any], str] | None = None):
        self._console, self._sample = console, sample
        self._tokens_per_second = 0.0
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def on_start(self, trainer) -> None:
        """Show the bar."""
        self._last_loss = float("nan")
        self._task = self._bar.add_task(
            "", total=trainer.steps, completed=trainer.state.step, numbers=""
        )
        self._bar.start()

    def on_step(self, trainer, metrics: StepMetrics) -> None:
        """Move the bar on."""
        now = metrics.tokens / metrics.seconds
        before = self._tokens_per_second or now
        self._tokens_per_second = SMOOTHING * before + (1 - SMOOTHING) * now
        self._last_loss = metrics.loss
        numbers = (
            f"loss {metrics.loss:.3f}  lr {metrics.lr:.1e}  grad norm {metrics.grad_norm:.2f}  "
            f"{self._tokens_per_second:,.0f} tokens/s"
        )
        self._bar.update(self._task, completed=metrics.step, numbers=numbers)

    def on_evaluation(self, trainer, metrics: EvaluationMetrics) -> None:
        """Print the loss, and at a terminal a sample."""
        best = ", the best so far" if metrics.best and metrics.step else ""
        training = f"training loss {self._last_loss:.3f}, " if metrics.step else ""
        scores = "".join(f", {name} {score:.3f}" for name, score in metrics.scores.items())
        self._console.print(
            f"step {metrics.step:>5}  {training}held-out loss {metrics.loss:.3f}{scores}{best}",
            soft_wrap=True,
        )
        if self._sample and self._console.is_terminal and metrics.step:
            text = self._console.plain(self._sample(trainer.model))
            self._console.print(Panel(text, title="sample", border_style="dim"))

    def on_end(self, trainer) -> None:
        """Take the bar away."""
        self._bar.stop()


def sample_text(
    model: LanguageModel,
    tokenizer: Tokenizer,
    seed: int,
    max_new_tokens: int = 100,
    temperature: float = 0.5,
) -> str:
    """Let the model write from an empty prompt."""
    prompt = start_of_text(tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContextWarning)  # a sample may well be longer
        sampling = sampling_with(tokenizer, model, temperature=temperature, seed=seed)
        new = model.stream(prompt, max_new_tokens, sampling)
        return continuation((int(token[0]) for token in new), tokenizer, sampling)


def start_of_text(tokenizer: Tokenizer) -> np.ndarray:
    """Return the ids an empty prompt stands for: a text's start, a document's, or a new line."""
    if len(around := tokenizer.encode_prompt("")):
        return around
    if tokenizer.end_of_text_id is not None:
        return np.array([tokenizer.end_of_text_id])
    try:
        return tokenizer.encode("\n")
    except ValueError:  # a text of one line has no such character
        return np.array([0])


class Stopwatch:
    """Seconds since it was made, in words."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __str__(self) -> str:
        seconds = time.perf_counter() - self._began
        if seconds < 120:
            return f"{seconds:.0f} s"
        return f"{seconds / 60:.1f} min"

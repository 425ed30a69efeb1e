"""How far back models remember: copying, and recalling the first token, by distance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.experiments.sizes import FAMILIES, check_families, configs_of_equal_size
from npgpt.fields import check_whole
from npgpt.models import Model
from npgpt.models.model import TokenBatch, family_of
from npgpt.ops import IGNORE_INDEX
from npgpt.optim import AdamW
from npgpt.optim.schedules import Constant, Warmup
from npgpt.training import train_step

SYMBOLS = 8  # and one more token, which asks for the answer
DISTANCES = (2, 4, 8, 16, 32, 64)
LAYERS = {"rnn": 1, "gru": 1, "lstm": 1, "conv": 4, "gpt": 2}
WARMUP = 50  # steps
LEARNED, IN_A_ROW = 0.02, 10  # training ends when the loss, in nats, has been lower so many times
TEST_ROWS, TEST_BATCH = 256, 64


def copy_batch(rng: np.random.Generator, rows: int, distance: int) -> TokenBatch:
    """Draw sequences to copy: some symbols, the mark, the symbols again.

    Each symbol of the answer was read ``distance`` positions before it is asked for.

    Parameters
    ----------
    rng : numpy.random.Generator
    rows : int
    distance : int
        Number of symbols.

    Returns
    -------
    TokenBatch
        Of shape (rows, 2 * distance); only the answer counts.

    Examples
    --------
    >>> token_ids, targets = copy_batch(np.random.default_rng(0), rows=1, distance=3)
    >>> token_ids.tolist(), targets.tolist()
    ([[6, 5, 4, 8, 6, 5]], [[-100, -100, -100, 6, 5, 4]])
    """
    symbols = rng.integers(0, SYMBOLS, (rows, distance))
    mark = np.full((rows, 1), SYMBOLS)
    targets = np.full((rows, 2 * distance), IGNORE_INDEX)
    targets[:, distance:] = symbols
    return TokenBatch(np.hstack([symbols, mark, symbols[:, :-1]]), targets)


def recall_batch(rng: np.random.Generator, rows: int, distance: int) -> TokenBatch:
    """Draw sequences whose first symbol is asked for at their end, by the mark.

    Parameters
    ----------
    rng : numpy.random.Generator
    rows : int
    distance : int
        Positions from the first symbol to the mark; the other symbols between them mean nothing.

    Returns
    -------
    TokenBatch
        Of shape (rows, distance + 1); only the answer counts.

    Examples
    --------
    >>> token_ids, targets = recall_batch(np.random.default_rng(0), rows=1, distance=3)
    >>> token_ids.tolist(), targets.tolist()
    ([[6, 5, 4, 8]], [[-100, -100, -100, 6]])
    """
    token_ids = rng.integers(0, SYMBOLS, (rows, distance + 1))
    token_ids[:, -1] = SYMBOLS
    targets = np.full(token_ids.shape, IGNORE_INDEX)
    targets[:, -1] = token_ids[:, 0]
    return TokenBatch(token_ids, targets)


@dataclasses.dataclass(frozen=True)
class Task:
    """What models have to remember, and how they are taught.

    Attributes
    ----------
    name : str
    title : str
        What a picture says above its panel.
    batch : function
        From (rng, rows, distance) to a `TokenBatch`.
    mixed : bool
        Whether one model learns all distances, a drawn one in each step; otherwise each distance
        has a model of its own, which never saw a shorter one.
    """

    name: str
    title: str
    batch: Callable[[np.random.Generator, int, int], TokenBatch]
    mixed: bool = False


TASKS = {
    task.name: task
    for task in (
        Task("copy", "copy", copy_batch),
        Task("recall", "recall, each distance alone", recall_batch),
        Task("recall-mixed", "recall, all distances at once", recall_batch, mixed=True),
    )
}


@dataclasses.dataclass(frozen=True)
class MemoryResult:
    """What one model remembers at one distance.

    Attributes
    ----------
    task : str
        Of `TASKS`.
    model : str
        The family.
    parameters : int
    distance : int
    steps : int
        Optimiser steps that it was trained for.
    accuracy : float
        Share of the answer's symbols that are right, in sequences that it was not trained on; of
        chance ``1 / SYMBOLS``.
    """

    task: str
    model: str
    parameters: int
    distance: int
    steps: int
    accuracy: float


def compare_memories(
    kinds: Sequence[str] = FAMILIES,
    tasks: Sequence[str] = tuple(TASKS),
    distances: Sequence[int] = DISTANCES,
    parameters: int = 50_000,
    steps: int = 400,
    batch_size: int = 32,
    lr: float = 5e-3,
    seed: int = 0,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_result: Callable[[MemoryResult], None] = lambda result: None,
) -> list[MemoryResult]:
    """Train models to copy and to recall, and count what they get right, by distance.

    Sequences are drawn anew for each step, so that nothing but the task can be learned. Training
    ends before ``steps`` when the loss has been below `LEARNED` ten times in a row.

    Parameters
    ----------
    kinds : sequence of str
        Families of models.
    tasks : sequence of str
        Of `TASKS`.
    distances : sequence of int
        From what is asked for to where it is; the context is as long as the longest needs.
    parameters : int
        Of each model, about; see `configs_of_equal_size`.
    steps : int
        Most optimiser steps of each training.
    batch_size : int
        Sequences a step.
    lr : float
        Learning rate, after a rise over `WARMUP` steps.
    seed : int
        Of weights and sequences.
    on_step : function
        Called with (done, total) of the steps of all trainings.
    on_result : function
        Called with each result as soon as it is there.

    Returns
    -------
    list of MemoryResult

    Raises
    ------
    ValueError
        If a kind or a task is unknown, or a number below 1.
    """
    who = "compare_memories"
    check_families(kinds, who)
    unknown = [task for task in tasks if task not in TASKS]
    if unknown or not tasks:
        raise ValueError(
            f"{who}: tasks must be of {', '.join(TASKS)}, got {', '.join(unknown) or 'none'}."
        )
    if not distances or min(distances) < 1:
        raise ValueError(f"{who}: distances must be at least 1, got {list(distances)}.")
    check_whole(who, 1, steps=steps, batch_size=batch_size)
    configs = configs_of_equal_size(
        kinds, parameters, LAYERS, vocab_size=SYMBOLS + 1, context_length=2 * max(distances)
    )
    trainings = [
        (TASKS[task], kind, group)
        for task in tasks
        for group in ([distances] if TASKS[task].mixed else [[distance] for distance in distances])
        for kind in kinds
    ]
    results = []
    for number, (task, kind, group) in enumerate(trainings):
        model: Model = family_of(type(configs[kind]))(configs[kind], seed=seed)

        def on_own_step(step: int, before: int = number * steps) -> None:
            on_step(before + step, len(trainings) * steps)

        done = _Teacher(task, group, batch_size, seed).train(model, lr, steps, on_own_step)
        for distance in group:
            accuracy = accuracy_of(model, task, distance, seed)
            results.append(
                MemoryResult(task.name, kind, model.num_parameters(), distance, done, accuracy)
            )
            on_result(results[-1])
    return results


def accuracy_of(model: Any, task: Task, distance: int, seed: int = 0) -> float:
    """Return the share of a task's answers that a model gets right.

    Parameters
    ----------
    model : LanguageModel
        Or what else gives logits by ``forward``.
    task : Task
    distance : int
    seed : int
        Of the sequences; those of training come from another source.
    """
    rng = np.random.default_rng([seed, 1])
    right, asked = 0, 0
    for _ in range(TEST_ROWS // TEST_BATCH):
        token_ids, targets = task.batch(rng, TEST_BATCH, distance)
        counts = targets != IGNORE_INDEX
        right += int(np.sum(model.forward(token_ids).argmax(axis=-1)[counts] == targets[counts]))
        asked += int(counts.sum())
    return right / asked


class _Teacher:
    """Draws sequences and trains on them."""

    def __init__(self, task: Task, distances: Sequence[int], batch_size: int, seed: int):
        self._task, self._distances, self._batch_size = task, distances, batch_size
        self._rng = np.random.default_rng([seed, 0])

    def train(self, model: Model, lr: float, steps: int, on_step: Callable[[int], None]) -> int:
        """Train until the task is learned or the steps are done; return how many it took."""
        optimizer = AdamW(model.parameters(), lr, weight_decay=0.0)
        schedule = Warmup(lr, WARMUP, Constant(lr))
        learned, step = 0, 0
        model.train()
        with ops.Workspace():
            while step < steps and learned < IN_A_ROW:
                optimizer.lr = schedule(step)
                loss, _ = train_step(model, optimizer, [self._draw()])
                learned = learned + 1 if loss < LEARNED else 0
                step += 1
                on_step(step)
        model.eval()
        return step

    def _draw(self) -> TokenBatch:
        distance = int(self._rng.choice(self._distances))
        return self._task.batch(self._rng, self._batch_size, distance)

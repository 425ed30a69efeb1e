"""Several sides of a comparison, each in a process of its own, taking turns.

A noisy machine is noisy for everybody: the sides run one after another within a round, round after
round, and what is compared is the ratio within each round.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

PAUSE = 0.05  # seconds between turns, in which the other side's threads go to sleep


class Worker:
    """A process that makes one piece of work and repeats it when asked.

    Parameters
    ----------
    factory : str
        ``"module:function"``; the function returns the work, a callable without arguments, or a
        function from the name of a task to the work.
    arguments : mapping
        Of the function.
    """

    def __init__(self, factory: str, arguments: Mapping[str, Any]):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, factory, dict(arguments)), daemon=True
        )
        self._process.start()
        theirs.close()

    def ready(self) -> None:
        """Wait until the work has been made."""
        self._answer()

    def run(self, repetitions: int = 1, task: str | None = None) -> float:
        """Do the work, and return the seconds that one repetition took."""
        self._connection.send((repetitions, task))
        return self._answer()[0]

    def result(self, task: str | None = None) -> float:
        """Do the work once; return the number it returned, or its arrays' mean magnitude."""
        self._connection.send((1, task))
        return self._answer()[1]

    def peak_memory(self) -> int:
        """Return the largest resident size that the process has had, in bytes."""
        self._connection.send("memory")
        return self._answer()[1]

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()

    def _answer(self) -> Any:
        try:
            kind, *content = self._connection.recv()
        except EOFError:
            raise RuntimeError("A worker process ended without an answer.") from None
        if kind == "error":
            raise RuntimeError(f"A worker process failed:\n{content[0]}")
        return content


@contextlib.contextmanager
def workers(sides: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Iterator[dict[str, Worker]]:
    """Start one worker a side, one after another, and end them all with the block."""
    started: dict[str, Worker] = {}
    try:
        for name, (factory, arguments) in sides.items():
            started[name] = Worker(factory, arguments)
            started[name].ready()  # one at a time: making the work takes both cores
        yield started
    finally:
        for worker in started.values():
            worker.close()


def take_turns(
    sides: Mapping[str, Worker],
    rounds: int,
    repetitions: int = 1,
    warm_up: int = 2,
    task: str | None = None,
) -> dict[str, list[float]]:
    """Let every side work once a round; return each side's seconds a repetition, by round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        for name, worker in sides.items():
            time.sleep(PAUSE)
            taken = worker.run(repetitions if number >= 0 else 1, task)
            if number >= 0:
                seconds[name].append(taken)
    return seconds


def repetitions_for(seconds: float, at_least: float = 0.1) -> int:
    """Say how often to repeat work of this length, so that a turn is not too short to measure."""
    return max(1, round(at_least / max(seconds, 1e-9)))


def _digest(result: Any) -> float:
    """Make one number of a result, for a comparison of the sides."""
    if isinstance(result, tuple):
        return sum(map(_digest, result))
    if hasattr(result, "detach"):
        result = result.detach()
    array = np.asarray(result)
    if array.ndim == 0:
        return float(array)
    magnitude = np.abs(array).mean(dtype=np.float64)
    pattern = np.sin(np.arange(array.size)).reshape(array.shape)  # signs and places count too
    return float(np.abs(array + magnitude * pattern).mean())


def _serve(connection, factory: str, arguments: dict[str, Any]) -> None:
    try:
        module, function = factory.split(":")
        made = getattr(importlib.import_module(module), function)(**arguments)
        connection.send(("ready",))
        work, current = made, None
        while (request := connection.recv()) is not None:
            if request == "memory":
                # imported now, so that it does not count for a side that needs no npgpt
                from npgpt.runs import peak_resident_size

                connection.send(("memory", 0.0, peak_resident_size()))
                continue
            repetitions, task = request
            if task != current:
                work = None  # its arrays go before the next task's are made
                work, current = made(task), task
            began = time.perf_counter()
            for _ in range(repetitions):
                result = work()
            seconds = (time.perf_counter() - began) / repetitions
            connection.send(("done", seconds, _digest(result)))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception:
        connection.send(("error", traceback.format_exc()))

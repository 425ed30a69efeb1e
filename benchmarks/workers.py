"""Several sides of a comparison, each in a process of its own, taking turns.

A noisy machine is noisy for everybody: the sides run one after another within a round, round after
round, and what is compared is the ratio within each round.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

PAUSE = 0.05  # seconds between turns, in which the other side's threads go to sleep


class Worker:
    """A process that makes one piece of work and repeats it when asked.

    Parameters
    ----------
    factory : str
        ``"module:function"``; the function returns a callable without arguments, which is the work.
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

    def run(self, repetitions: int = 1) -> float:
        """Do the work, and return the seconds that one repetition took."""
        self._connection.send(repetitions)
        return self._answer()[0]

    def result(self) -> Any:
        """Do the work once, and return what it returned."""
        self._connection.send(1)
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
    sides: Mapping[str, Worker], rounds: int, repetitions: int = 1, warm_up: int = 2
) -> dict[str, list[float]]:
    """Let every side work once a round; return each side's seconds a repetition, by round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        for name, worker in sides.items():
            time.sleep(PAUSE)
            taken = worker.run(repetitions if number >= 0 else 1)
            if number >= 0:
                seconds[name].append(taken)
    return seconds


def peak_resident_size() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmHWM"):  # unlike ru_maxrss, it starts anew with the program
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _serve(connection, factory: str, arguments: dict[str, Any]) -> None:
    try:
        module, function = factory.split(":")
        work = getattr(importlib.import_module(module), function)(**arguments)
        connection.send(("ready",))
        while (request := connection.recv()) is not None:
            if request == "memory":
                connection.send(("memory", 0.0, peak_resident_size()))
                continue
            began = time.perf_counter()
            for _ in range(request):
                result = work()
            seconds = (time.perf_counter() - began) / request
            connection.send(("done", seconds, result))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception:
        connection.send(("error", traceback.format_exc()))

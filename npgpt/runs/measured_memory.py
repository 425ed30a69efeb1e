"""Memory as the operating system counts it, to compare a plan with."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from npgpt.layers import Parameter
from npgpt.models import Model, ModelConfig
from npgpt.models.model import family_of
from npgpt.models.rehearsed_pairs import pair_batch
from npgpt.models.sequence_to_sequence import SequenceToSequenceConfig
from npgpt.ops import Workspace
from npgpt.optim import AdamW, Optimizer
from npgpt.training.step import train_step


def resident_size() -> int:
    """Return the bytes of memory that this process holds now."""
    return _from_proc_status("VmRSS") or _largest_resident_size()


def peak_resident_size() -> int:
    """Return the most bytes of memory that this process has held."""
    # unlike ru_maxrss, VmHWM starts anew with the program: a parent's peak is not inherited
    return _from_proc_status("VmHWM") or _largest_resident_size()


def measure_step(
    config: ModelConfig,
    batch: int,
    time: int,
    recompute: bool = False,
    prepare: Callable[[Model], object] | None = None,
    optimizer: Callable[[Iterable[Parameter]], Optimizer] = AdamW,
) -> int:
    """Do two training steps on random tokens in a process of its own; return its peak memory.

    Parameters
    ----------
    config : ModelConfig
    batch, time : int
        Sequences, and tokens in each; pairs, and tokens of each side.
    recompute : bool
        As for `npgpt.GPT`.
    prepare : function, optional
        Freezes parameters of the model or adds to them; a function of a module, or a
        `functools.partial` of one, since it goes to another process.
    optimizer : function
        Makes the optimiser; as ``prepare``, it goes to another process.

    Returns
    -------
    int
        Bytes, those of the interpreter and the libraries included.

    Raises
    ------
    RuntimeError
        If the process did not finish; the system may have ended it for want of memory.
    """
    return _measured(_steps, config, batch, time, recompute, prepare, optimizer)


def measure_generation(config: ModelConfig, batch: int, time: int) -> int:
    """Read prompts that nearly fill ``time`` and generate the rest, in a process of its own.

    Parameters
    ----------
    config : ModelConfig
    batch, time : int
        Texts, and tokens of each.

    Returns
    -------
    int
        Peak memory in bytes, as of `measure_step`.
    """
    return _measured(_generation, config, batch, time)


def _measured(work: Callable[..., None], *arguments: Any) -> int:
    """Let work be done in a process of its own; return the size that it sends."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(sender, *arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError(
            "The process that measures ended before it was done; is there enough memory?"
        ) from None
    finally:
        process.join()


def _generation(sender, config: ModelConfig, batch: int, time: int) -> None:
    model = family_of(type(config))(config)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (batch, max(1, time - 4)))
    model.generate(ids, min(4, time - 1), temperature=0.0)
    sender.send(peak_resident_size())


def _steps(
    sender, config: ModelConfig, batch: int, time: int, recompute: bool, prepare, optimizer
) -> None:
    again: Any = {"recompute": True} if recompute else {}  # which only models of blocks take
    model = family_of(type(config))(config, **again)
    if prepare is not None:
        prepare(model)
    chosen = optimizer(model.parameters())
    if isinstance(config, SequenceToSequenceConfig):
        drawn: tuple = pair_batch(config, batch, time)
    else:
        ids = np.random.default_rng(0).integers(0, config.vocab_size, (batch, time + 1))
        drawn = ids[:, :-1], ids[:, 1:]
    with Workspace():
        for _ in range(2):
            train_step(model, chosen, [drawn])
    sender.send(peak_resident_size())


def _from_proc_status(field: str) -> int:
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _largest_resident_size() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

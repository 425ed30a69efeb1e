"""llm.c's CPU trainer, built by the user, as one more side."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

BATCH, TIME = 4, 64  # of llm.c's train_gpt2.c
STEP = re.compile(r"^step \d+: train loss [-\d.naif]+ \(took (?P<ms>[\d.]+) ms\)", re.MULTILINE)


def run(program: Path, timeout: float = 1800.0) -> list[float]:
    """Run llm.c's ``train_gpt2`` in its own folder; return the seconds of its steps.

    Raises
    ------
    RuntimeError
        If it cannot be started, fails, or prints no step.
    """
    program = program.absolute()
    try:
        result = subprocess.run(
            [str(program)],
            cwd=program.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"--llmc {program}: it could not be run ({error}).") from None
    seconds = steps_in(result.stdout)
    if result.returncode or not seconds:
        last = result.stdout.strip().splitlines()[-1:] or ["nothing"]
        raise RuntimeError(
            f"--llmc {program}: it ended with status {result.returncode} and {len(seconds)} steps; "
            f"its last line was: {last[0]}"
        )
    return seconds[1:] or seconds  # the first step takes the memory


def steps_in(output: str) -> list[float]:
    """Return the seconds that each step took, from what llm.c printed."""
    return [float(match["ms"]) / 1000.0 for match in STEP.finditer(output)]

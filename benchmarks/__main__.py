"""Run one part of the benchmarks: ``python -m benchmarks --help``."""

from __future__ import annotations

import typer

from benchmarks.attention import attention
from benchmarks.memory import memory
from benchmarks.shakespeare import shakespeare
from benchmarks.train import train

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.command("train")(train)
app.command("attention")(attention)
app.command("memory")(memory)
app.command("shakespeare")(shakespeare)


@app.callback()
def _parts() -> None:
    """Measure npgpt. Each part is a command."""


if __name__ == "__main__":
    app()

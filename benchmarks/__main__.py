"""Run one part of the benchmarks: ``python -m benchmarks --help``."""

from __future__ import annotations

import typer

from benchmarks.attention import attention
from benchmarks.decode import decode
from benchmarks.finetune import finetune
from benchmarks.layers import layers
from benchmarks.listening import listening
from benchmarks.loading import loading
from benchmarks.memory import memory
from benchmarks.recurrent import recurrent
from benchmarks.scaling import scaling
from benchmarks.shakespeare import shakespeare
from benchmarks.tokenizers import tokenizers
from benchmarks.train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure npgpt beside PyTorch and others. Each part is a command.",
)
PARTS = (
    train,
    decode,
    loading,
    attention,
    layers,
    memory,
    recurrent,
    finetune,
    scaling,
    shakespeare,
    tokenizers,
    listening,
)
for part in PARTS:
    app.command(part.__name__)(part)


if __name__ == "__main__":
    app()

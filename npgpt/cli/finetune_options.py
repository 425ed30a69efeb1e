"""Options that the commands of npgpt finetune share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

METHOD, OPTIMISATION = "What is trained", "Optimisation"

Data = Annotated[str, typer.Option(help="A .csv, .tsv, .json or .jsonl file, or docstrings.")]
TestData = Annotated[str | None, typer.Option(help="A file to test on; else a part of the data.")]
Out = Annotated[
    Path | None, typer.Option(help="Run folder to make; by default runs/TASK-1, -2, ...")
]
Resume = Annotated[bool, typer.Option("--resume", help="MODEL is a run of this command: go on.")]
Method = Annotated[
    str,
    typer.Option(
        help="full, last-block (with the final norm and the head), or lora.", rich_help_panel=METHOD
    ),
]
Rank = Annotated[int, typer.Option(min=1, help="Of LoRA.", rich_help_panel=METHOD)]
Alpha = Annotated[float, typer.Option(help="Of LoRA.", rich_help_panel=METHOD)]
LoraDropout = Annotated[float, typer.Option(help="Of LoRA.", rich_help_panel=METHOD)]
TargetModules = Annotated[
    list[str] | None,
    typer.Option(
        help="Linear maps that LoRA is put beside, such as attention.qkv; may be repeated.",
        show_default="all",
        rich_help_panel=METHOD,
    ),
]
FromScratch = Annotated[
    bool,
    typer.Option("--from-scratch", help="Random weights, to compare with.", rich_help_panel=METHOD),
]
ModelDropout = Annotated[
    float | None,
    typer.Option(
        "--dropout",
        help="Of the model while it is trained.",
        show_default="the base's",
        rich_help_panel=OPTIMISATION,
    ),
]
Epochs = Annotated[int, typer.Option(min=1, rich_help_panel=OPTIMISATION)]
BatchSize = Annotated[int, typer.Option(min=1, rich_help_panel=OPTIMISATION)]
GradAccumulation = Annotated[
    int, typer.Option(min=1, help="Batches a step.", rich_help_panel=OPTIMISATION)
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        min=0,
        show_default="3e-4; last-block and lora 1e-3",
        rich_help_panel=OPTIMISATION,
    ),
]
WeightDecay = Annotated[float, typer.Option(min=0, rich_help_panel=OPTIMISATION)]
EvalsPerEpoch = Annotated[int, typer.Option(min=1, rich_help_panel=OPTIMISATION)]
Patience = Annotated[
    int,
    typer.Option(
        min=0,
        help="Evaluations without a lower validation loss after which to stop; 0 never does.",
        rich_help_panel=OPTIMISATION,
    ),
]
Seed = Annotated[int, typer.Option(min=0, rich_help_panel=OPTIMISATION)]
Template = Annotated[str, typer.Option(help="alpaca or chat.")]
LmCoef = Annotated[
    float,
    typer.Option(
        min=0,
        help="Weight of the texts' next tokens in the loss, beside the classes.",
        rich_help_panel=OPTIMISATION,
    ),
]

"""Arguments and options that several commands have, and what opens a MODEL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from npgpt.runs import OpenedBert, OpenedModel, PretrainingRun, TranslationRun

MODEL_HELP = (
    "A run folder of npgpt train or npgpt finetune, a folder in Hugging Face's format, or a name "
    "on its hub, such as gpt2"
)
Model = Annotated[str, typer.Argument(metavar="MODEL", help=f"{MODEL_HELP}.", show_default=False)]
BertModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run folder of npgpt train --model bert, or a BERT in Hugging Face's format: a "
        "folder, or a name on its hub.",
        show_default=False,
    ),
]
Checkpoint = Annotated[str, typer.Option(help="Of a run: best or last.")]
Revision = Annotated[
    str | None, typer.Option(help="Of a model on the hub: a branch, tag or commit.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Plot = Annotated[
    Path | None, typer.Option(help="Draw the result, as a PNG, to this file.", metavar="FILE")
]
DTYPES = ("float32", "float64", "bfloat16", "int8")
Dtype = Annotated[
    str,
    typer.Option(
        help="Of the weights: float32, float64, or bfloat16 or int8, which are faster and a little "
        "less exact."
    ),
]


def check_checkpoint(name: str) -> None:
    """Refuse a checkpoint name that is neither best nor last, as a usage error."""
    if name not in ("best", "last"):
        raise typer.BadParameter(f"--checkpoint must be best or last, got {name}.")


def open_argument(
    model: str, checkpoint: str = "best", revision: str | None = None, dtype: str = "float32"
) -> OpenedModel:
    """Load the model of a MODEL argument, with its tokenizer."""
    from npgpt.runs import open_model

    check_checkpoint(checkpoint)
    if dtype not in DTYPES:
        raise typer.BadParameter(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype}.")
    return open_model(model, checkpoint, dtype, revision)


def open_bert_argument(
    model: str, checkpoint: str = "best", revision: str | None = None
) -> OpenedBert:
    """Load the BERT of a MODEL argument, with its tokenizer."""
    from npgpt.cli.app import notes_for_warnings
    from npgpt.runs import open_bert

    check_checkpoint(checkpoint)
    with notes_for_warnings():
        return open_bert(model, checkpoint, revision)


def translation_run(model: str) -> TranslationRun | None:
    """Open the run of a MODEL argument if it is one that translates; None if it is another."""
    from npgpt.files import CONFIG
    from npgpt.runs import TranslationRun
    from npgpt.runs.open import find_run

    folder = Path(model)
    run = find_run(folder) if (folder / CONFIG).is_file() else None
    return run if isinstance(run, TranslationRun) else None


def open_trained(folder: str | Path) -> PretrainingRun | TranslationRun:
    """Open a run of npgpt train.

    Raises
    ------
    FileNotFoundError
        If there is no run.
    ValueError
        If it is damaged, or of another command.
    """
    from npgpt.runs import PretrainingRun, Run, TranslationRun

    run = Run.open(folder)
    return run if isinstance(run, TranslationRun) else PretrainingRun.open(folder)

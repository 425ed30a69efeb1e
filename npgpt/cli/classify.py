"""npgpt classify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.arguments import AsJson, Checkpoint, check_checkpoint
from npgpt.cli.shared.console import console, read_input


@tells_errors
def classify_command(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder of npgpt finetune classify.")
    ],
    text: Annotated[str, typer.Argument(help="A text; - reads it from standard input.")],
    checkpoint: Checkpoint = "best",
    as_json: AsJson = False,
) -> None:
    """Tell to which class a text belongs, with the probability of each class.

    [bold]Examples[/bold]

      npgpt classify runs/classify-1 "Parse an e-mail message."
    """
    import numpy as np

    from npgpt.finetuning import encode_text
    from npgpt.runs import FineTuningRun

    check_checkpoint(checkpoint)
    run = FineTuningRun.open(run_folder)
    if run.config.task != "classify":
        raise ValueError(f"{run_folder} is not a classifier; npgpt finetune classify makes one.")
    text = read_input().removesuffix("\n") if text == "-" else text  # the line's own end
    ids = encode_text(text, run.tokenizer, run.model_config.context_length)
    model = run.load_model(checkpoint)
    probabilities = model.probabilities(ids[None], np.array([len(ids)]))[0]
    order = np.argsort(-probabilities)
    chances = {run.labels[i]: float(probabilities[i]) for i in order}
    if as_json:
        print(json.dumps({"label": run.labels[order[0]], "probabilities": chances}))
        return
    width = max(map(len, run.labels))
    for label, chance in chances.items():
        bar = "█" * round(30 * chance)
        console.print(f"{label:<{width}}  {chance:.3f}  {bar}", soft_wrap=True)

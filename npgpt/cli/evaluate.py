"""npgpt eval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from npgpt.cli.app import console, tells_errors
from npgpt.cli.model_argument import Checkpoint, Dtype, Model, Revision, open_argument
from npgpt.cli.tokenize import Errors, Field


@tells_errors
def evaluate_command(
    model: Model,
    text: Annotated[
        str | None,
        typer.Argument(help="A text file, folder or glob; by default the run's held-out text."),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tokens that each window predicts, after a past of the context's rest.",
            show_default="half the context",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows at a time.")] = 1,
    task: Annotated[
        str | None,
        typer.Option(
            help="Ask questions instead: signatures, modules, or a file of records with question, "
            "answer and perhaps choices."
        ),
    ] = None,
    shots: Annotated[
        list[int] | None,
        typer.Option(
            help="Examples before each question; several numbers compare.", show_default="0 1 5"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Questions to ask.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the examples' choice.")] = 0,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print the first prompt, and ask nothing.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the accuracy against the shots, as a PNG, to this file.", metavar="FILE"
        ),
    ] = None,
    checkpoint: Checkpoint = "best",
    revision: Revision = None,
    dtype: Dtype = "float32",
    field: Field = "text",
    errors: Errors = "strict",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how well a model predicts text: loss, perplexity, bits per byte.

    The loss is the mean cross-entropy in nats a token. Bits per byte compares models with
    different tokenizers. A TEXT is read in overlapping windows, so that every token is predicted
    after a long past; the smaller --stride, the longer the past. With --dtype bfloat16 or int8 the
    loss in float32 is measured too, and the difference reported.

    [bold]Examples[/bold]

      npgpt eval runs/python-docs-1

      npgpt eval runs/python-docs-1 README.md --json

      npgpt eval gpt2 README.md --stride 256

      npgpt eval gpt2 --task signatures --shots 0 1 5 --plot shots.png
    """
    if task is not None:
        from npgpt.cli.few_shot import ask_questions, print_prompt

        numbers_of_shots = list(shots or (0, 1, 5))
        if min(numbers_of_shots) < 0:
            raise typer.BadParameter("--shots must be at least 0.")
        if show_prompt:
            print_prompt(task, numbers_of_shots[-1], seed)
            return
        opened = open_argument(model, checkpoint, revision)
        ask_questions(opened, task, numbers_of_shots, seed, limit, as_json, plot)
        return
    if shots or show_prompt or plot:
        raise typer.BadParameter("--shots, --show-prompt and --plot go with --task.")
    from npgpt.cli.progress import compile_kernels, progress_bar
    from npgpt.data import HeldOutBatches, StridedWindows, encode_documents, load_corpus
    from npgpt.training import evaluate

    few_bits = dtype in ("bfloat16", "int8")
    opened = open_argument(model, checkpoint, revision, "float32" if few_bits else dtype)
    run, tokenizer = opened.run, opened.tokenizer
    batches: StridedWindows | HeldOutBatches
    if text is not None:
        corpus = load_corpus(text, field, errors)
        name = corpus.name
        ids = encode_documents(corpus.documents, tokenizer)
        batches = strided(ids, opened.model.config.context_length, stride, batch_size)
    elif run is None:
        raise typer.BadParameter(f"{model} is not a run with a held-out text: give a TEXT.")
    else:
        name = f"held-out part of {run.corpus.name}"
        if stride is None:
            batches = run.held_out_batches()
        else:
            ids = run.windows[1].ids
            batches = strided(ids, run.config.context_length, stride, batch_size)
    compile_kernels(console, opened.model.config)

    def measured(label: str):
        done = 0
        with progress_bar(console, label) as progress:

            def on_batch() -> None:
                nonlocal done
                done += 1
                progress(done, len(batches))

            return evaluate(opened.model, batches, tokenizer.bytes_per_token(), on_batch=on_batch)

    result = measured("Evaluating")
    extra = {}
    if few_bits:
        extra["float32_loss"] = result.loss
        opened.model.quantize(dtype)
        result = measured(f"Evaluating in {dtype}")
        extra["loss_above_float32"] = result.loss - extra["float32_loss"]
    numbers = {
        "text": name,
        "checkpoint": checkpoint,
        "tokens": result.tokens,
        "loss": result.loss,
        "perplexity": result.perplexity,
        "bits_per_byte": result.bits_per_byte,
        "dtype": dtype,
        **extra,
    }
    if as_json:
        print(json.dumps(numbers))
        return
    for key, value in numbers.items():
        shown = (
            f"{value:,.4f}"
            if isinstance(value, float)
            else f"{value:,}"
            if isinstance(value, int)
            else value
        )
        console.print(f"{key.replace('_', ' '):<18} {shown}", markup=False, soft_wrap=True)


def strided(ids, context_length: int, stride: int | None, batch_size: int):
    """Cut a text into overlapping windows; a stride that is too large is a usage error."""
    from npgpt.data import StridedWindows

    if stride is not None and stride > context_length:
        raise typer.BadParameter(f"--stride must be at most the context, {context_length}.")
    return StridedWindows(ids, context_length, stride, batch_size)

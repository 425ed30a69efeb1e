"""npgpt generate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from npgpt.cli.app import tells_errors

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of npgpt train.")]
Checkpoint = Annotated[str, typer.Option(help="best or last.")]


def check_checkpoint(name: str) -> None:
    """Refuse a checkpoint name that is neither best nor last, as a usage error."""
    if name not in ("best", "last"):
        raise typer.BadParameter(f"--checkpoint must be best or last, got {name}.")


@tells_errors
def generate_command(
    run_folder: RunFolder,
    prompt: Annotated[
        str, typer.Argument(help="Text to continue; - reads it from standard input.")
    ] = "",
    max_new_tokens: Annotated[int, typer.Option(min=0)] = 200,
    temperature: Annotated[
        float, typer.Option(min=0, help="Below 1 is safer, above 1 bolder; 0 is greedy.")
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Draw from this many likeliest tokens.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens that reach this share.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same text.")] = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """Continue a prompt with a trained model; the text appears as it is made.

    Stops at the end of a document.

    [bold]Examples[/bold]

      npgpt generate runs/python-docs-1 "The with statement"

      npgpt generate runs/python-docs-1 "The" --temperature 0 --max-new-tokens 50
    """
    from npgpt.cli.progress import start_of_text
    from npgpt.generation.sampling import check_sampling
    from npgpt.training import Run

    check_checkpoint(checkpoint)
    try:
        check_sampling(temperature, top_k, top_p)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run = Run.open(run_folder)
    if prompt == "-":
        prompt = sys.stdin.read()
    prompt_ids = run.tokenizer.encode(prompt) if prompt else start_of_text(run.tokenizer)
    model = run.load_model(checkpoint)
    sys.stdout.write(prompt)
    shown = ""
    ids: list[int] = []
    stop_id = run.tokenizer.end_of_text_id
    for tokens in model.stream(
        prompt_ids, max_new_tokens, temperature, top_k, top_p, seed, stop_id
    ):
        if tokens[0] == stop_id:
            break
        ids.append(int(tokens[0]))
        text = run.tokenizer.decode(ids)
        if not text.endswith("\ufffd"):  # else a character is not whole yet
            sys.stdout.write(text[len(shown) :])
            sys.stdout.flush()
            shown = text
    sys.stdout.write(run.tokenizer.decode(ids)[len(shown) :] + "\n")

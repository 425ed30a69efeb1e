"""npgpt generate."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.model_argument import Checkpoint, Model, Revision, check_checkpoint, open_argument


@tells_errors
def generate_command(
    model: Model,
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
    revision: Revision = None,
) -> None:
    """Continue a prompt with a model; the text appears as it is made.

    Stops at the end of a document.

    [bold]Examples[/bold]

      npgpt generate runs/python-docs-1 "The with statement"

      npgpt generate gpt2 "Once upon a time" --top-p 0.9

      npgpt generate runs/python-docs-1 "The" --temperature 0 --max-new-tokens 50
    """
    from npgpt.cli.progress import start_of_text
    from npgpt.generation.sampling import check_sampling

    check_checkpoint(checkpoint)
    try:
        check_sampling(temperature, top_k, top_p)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    opened = open_argument(model, checkpoint, revision)
    tokenizer = opened.tokenizer
    if prompt == "-":
        prompt = sys.stdin.read()
    prompt_ids = tokenizer.encode(prompt) if prompt else start_of_text(tokenizer)
    sys.stdout.write(prompt)
    shown = ""
    ids: list[int] = []
    stop_id = tokenizer.end_of_text_id
    for tokens in opened.model.stream(
        prompt_ids, max_new_tokens, temperature, top_k, top_p, seed, stop_id
    ):
        if tokens[0] == stop_id:
            break
        ids.append(int(tokens[0]))
        text = tokenizer.decode(ids)
        if not text.endswith("\ufffd"):  # else a character is not whole yet
            sys.stdout.write(text[len(shown) :])
            sys.stdout.flush()
            shown = text
    sys.stdout.write(tokenizer.decode(ids)[len(shown) :] + "\n")

"""npgpt generate."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated, Any

import typer

from npgpt.cli.app import notes_for_warnings, tells_errors
from npgpt.cli.shared.arguments import (
    Checkpoint,
    Dtype,
    Model,
    Revision,
    check_checkpoint,
    open_argument,
)
from npgpt.cli.shared.console import read_input, write_pieces
from npgpt.cli.shared.options import usage_errors, with_options
from npgpt.generation import Sampling

DRAWN = {"temperature": 0.8}  # another default than the library has


@tells_errors
@with_options(Sampling, defaults=DRAWN)
def generate_command(
    model: Model,
    prompt: Annotated[
        str, typer.Argument(help="Text to continue; - reads it from standard input.")
    ] = "",
    max_new_tokens: Annotated[int, typer.Option(min=0)] = 200,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="End before this string; may be repeated.", show_default=False),
    ] = None,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Go on after the end of a document.")
    ] = False,
    num_beams: Annotated[
        int, typer.Option(min=1, help="Above 1: search for the likeliest text instead of sampling.")
    ] = 1,
    checkpoint: Checkpoint = "best",
    revision: Revision = None,
    dtype: Dtype = "float32",
    **settings: Any,
) -> None:
    """Continue a prompt with a model; the text appears as it is made.

    Stops at the end of a document (see --ignore-eos), at a --stop string, or after
    --max-new-tokens.

    [bold]Examples[/bold]

      npgpt generate runs/python-docs-1 "The with statement"

      npgpt generate gpt2 "Once upon a time" --top-p 0.9

      npgpt generate runs/python-docs-1 "The" --temperature 0 --max-new-tokens 50
    """
    from npgpt.cli.shared.progress import start_of_text
    from npgpt.generation import sampling_with, stream_text

    check_checkpoint(checkpoint)
    with usage_errors():
        sampling = Sampling(**DRAWN | settings)
        if "" in (stop or ()):
            raise ValueError("--stop must have at least one character")
    if num_beams > 1 and settings.keys() - {"temperature"}:
        raise typer.BadParameter(
            "--num-beams searches and does not draw: leave out --top-k, --top-p, --seed and "
            "--repetition-penalty."
        )
    opened = open_argument(model, checkpoint, revision, dtype)
    tokenizer = opened.tokenizer
    if prompt == "-":
        prompt = read_input()
    prompt_ids = tokenizer.encode_prompt(prompt) if prompt else start_of_text(tokenizer)
    sampling = sampling_with(tokenizer, opened.model, **DRAWN | settings)
    if ignore_eos:
        sampling = dataclasses.replace(sampling, stop_id=None)
    read = prompt_ids if prompt else ()
    with notes_for_warnings():
        if num_beams > 1 and max_new_tokens:
            found = opened.model.beam_search(
                prompt_ids, max_new_tokens, num_beams, sampling=sampling
            )
            tokens = iter(found[len(prompt_ids) :].tolist())
        else:
            sampled = opened.model.stream(prompt_ids, max_new_tokens, sampling)
            tokens = (int(token[0]) for token in sampled)
        new = stream_text(tokens, tokenizer.decode, stop or (), sampling.stop_id, read, prompt)
        for _ in write_pieces(itertools.chain([prompt], new)):
            pass
    print()

"""npgpt data."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from npgpt.cli.app import HELP, tells_errors
from npgpt.cli.shared.console import console
from npgpt.cli.shared.options import usage_errors, with_options
from npgpt.cli.tokenize import READING
from npgpt.runs import DataConfig
from npgpt.runs.source import open_source

data_app = typer.Typer(
    help="Look at data as a model sees it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings=HELP,
)
MOST_LINES = 8  # predictions of a window that are written out


@data_app.callback()
def _group() -> None:
    pass


@data_app.command("show")
@tells_errors
@with_options(DataConfig, names=READING, arguments=("corpus",))
def show_command(
    context_length: Annotated[
        int, typer.Option("--context-length", "--context", help="Tokens of a window.", min=1)
    ] = 4,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Tokens between the starts of two windows.",
            min=1,
            show_default="the context length",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 2,
    batches: Annotated[int, typer.Option(help="How many are shown.", min=1)] = 1,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="In random order.")] = False,
    seed: Annotated[int, typer.Option(help="Of the order.", min=0)] = 0,
    **settings: Any,
) -> None:
    """Show batches as they are trained on: inputs beside targets, then each prediction.

    The corpus may also be a folder of npgpt tokenize.

    [bold]Examples[/bold]

      npgpt data show python-docs

      npgpt data show verdict.txt --tokenizer word --context-length 4 --stride 1

      npgpt data show tokens --batches 2 --shuffle --seed 1
    """
    from npgpt.cli.shared.progress import COMPILING_TOKENIZER, progress_bar
    from npgpt.data import DataLoader, TokenWindows

    with usage_errors():
        config = DataConfig(**settings)
    source = open_source(config, whole=True)
    with progress_bar(console, "Training the tokenizer", COMPILING_TOKENIZER) as progress:
        tokenizer = source.tokenizer(config, progress)
    ids = source.ids(tokenizer)[0]
    windows = TokenWindows(ids, context_length, stride)
    loader = DataLoader(windows, batch_size, shuffle=shuffle, seed=seed)
    console.print(
        f"{len(ids):,} tokens, {len(windows):,} windows of {context_length} with stride "
        f"{windows.stride}, {len(loader):,} batches of {batch_size}"
    )
    for number, (inputs, targets) in enumerate(islice(loader.forever(), batches)):
        console.print()
        console.print(console.styled(f"batch {number}"))
        for title, rows in (("inputs", inputs), ("targets", targets)):
            console.print(f"{title} {rows.shape}")
            for row in rows:
                console.print("  " + " ".join(f"{token:>6}" for token in row))
        for row, (context, target) in enumerate(zip(inputs, targets, strict=True)):
            console.print(f"window {row}")
            for end in range(1, min(context_length, MOST_LINES) + 1):
                text, answer = (
                    tokenizer.decode(context[:end]),
                    tokenizer.decode(target[end - 1 : end]),
                )
                console.print(f"  {text!r} ---> {answer!r}", soft_wrap=True)
            if context_length > MOST_LINES:
                console.print(f"  and {context_length - MOST_LINES} more")

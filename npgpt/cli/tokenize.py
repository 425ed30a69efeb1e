"""npgpt tokenize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.console import console
from npgpt.cli.shared.options import usage_errors, with_options
from npgpt.files import quoted, refuse_used
from npgpt.runs import DataConfig

SHOWN_TOKENS = 12
NARROW = 60  # characters of a token that a table shows

READING = ("corpus", "tokenizer", "vocab_size", "field", "errors")


@tells_errors
@with_options(DataConfig, names=(*READING, "validation_fraction"), arguments=("corpus",))
def tokenize_command(
    out: Annotated[
        Path | None, typer.Option(help="Folder to make, for npgpt train.", metavar="DIR")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Show so many merges of byte-pair encoding on words, and end."),
    ] = None,
    **settings: Any,
) -> None:
    """Turn a text into token ids, once and for all: files that npgpt train reads as they are.

    Without --out it says how many tokens there are and shows the first. The text is read as a
    stream and may be larger than the memory.

    [bold]Examples[/bold]

      npgpt tokenize python-docs --out tokens

      npgpt tokenize "texts/*.jsonl.gz" --tokenizer gpt2 --out tokens

      npgpt tokenize python-docs --steps 10
    """
    with usage_errors():
        config = DataConfig(**settings)
    if steps is not None:
        if out is not None:
            raise typer.BadParameter("give either --steps or --out, not both.")
        _show_steps(config, steps)
        return
    from npgpt.cli.shared.progress import COMPILING_TOKENIZER, progress_bar
    from npgpt.data import StreamedCorpus, write_token_folder
    from npgpt.data.streams import DocumentEncoder
    from npgpt.runs.tokenizer import make_tokenizer

    if out is not None:
        refuse_used(out)
    with progress_bar(console, "Reading"):
        source = StreamedCorpus(
            config.corpus, config.validation_fraction, config.field, config.errors
        )
    with progress_bar(console, "Training the tokenizer", COMPILING_TOKENIZER) as progress:
        made = make_tokenizer(
            config.tokenizer,
            source.train_texts,
            lambda: (text for text, _ in source.pieces()),
            config.vocab_size,
            end_of_text=True,
            progress=progress,
        )
    with progress_bar(console, "Encoding") as progress:
        if out is not None:
            train, validation = write_token_folder(out, source, made, progress)
            total, first = train + validation, None
        else:
            total, first, done = 0, None, 0
            encode = DocumentEncoder(made)
            for piece in source.pieces():
                ids = encode(piece)
                first = ids[:SHOWN_TOKENS] if first is None else first
                total += len(ids)
                done += len(piece[0])
                progress(done, source.num_characters)
    console.print(
        console.styled(
            source.name,
            rest=f": {source.num_characters:,} characters, {total:,} tokens "
            f"({source.num_characters / total:.2f} characters a token), vocabulary of "
            f"{made.vocab_size:,} ({type(made).__name__})",
        ),
        soft_wrap=True,
    )
    if out is None:
        for token in [] if first is None else first.tolist():
            console.print(f"{token:>7}  {made.decode([token])!r}")
        return
    console.print(
        f"{train:,} tokens to train on, {validation:,} held out, in {out}", soft_wrap=True
    )
    console.print(f"Next: npgpt train {quoted(out)}", soft_wrap=True)


def _show_steps(config: DataConfig, steps: int) -> None:
    from rich.table import Table

    from npgpt.data import stream_corpus
    from npgpt.tokenizers import WordBPETokenizer

    pieces = stream_corpus(config.corpus, config.field, config.errors)
    texts = (text for text, _ in pieces)  # no word is cut
    trained = WordBPETokenizer.train(texts, num_merges=steps, record=True)
    table = Table(box=None, pad_edge=False)
    for column in ("step", "count", "tokens left"):
        table.add_column(column, justify="right", overflow="fold")
    for column in ("pair", "new token"):
        table.add_column(column, overflow="fold")
    for number, step in enumerate(trained.steps or [], 1):
        pair = f"{step.left!s} + {step.right!s}"[:NARROW]
        row = (str(number), f"{step.count:,}", f"{step.tokens_left:,}")
        table.add_row(*row, pair, f"{step.token!s}"[:NARROW])
    console.print(table)

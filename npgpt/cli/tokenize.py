"""npgpt tokenize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgpt.cli.app import console, tells_errors

SHOWN_TOKENS = 12
NARROW = 60  # characters of a token that a table shows

Corpus = Annotated[
    str,
    typer.Argument(
        help="A built-in corpus (python-docs, python-source), a file, a folder, a glob in quotes, "
        "or - for standard input."
    ),
]
Field = Annotated[str, typer.Option(help="Where the text is in a line of .jsonl.")]
Errors = Annotated[
    str, typer.Option(help="Bytes that are not UTF-8: strict (an error), replace, or ignore.")
]
Tokenizer = Annotated[
    str, typer.Option(help="bpe (byte pairs), char, word, gpt2, or the path of a tokenizer.")
]
VocabSize = Annotated[int, typer.Option(help="Tokens of a bpe vocabulary.", min=1)]


@tells_errors
def tokenize_command(
    corpus: Corpus = "python-docs",
    out: Annotated[
        Path | None, typer.Option(help="Folder to make, for npgpt train.", metavar="DIR")
    ] = None,
    tokenizer: Tokenizer = "bpe",
    vocab_size: VocabSize = 1024,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the text that is held out.")
    ] = 0.1,
    field: Field = "text",
    errors: Errors = "strict",
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Show so many merges of byte-pair encoding on words, and end."),
    ] = None,
) -> None:
    """Turn a text into token ids, once and for all: files that npgpt train reads as they are.

    Without --out it says how many tokens there are and shows the first. The text is read as a
    stream and may be larger than the memory.

    [bold]Examples[/bold]

      npgpt tokenize python-docs --out tokens

      npgpt tokenize "texts/*.jsonl.gz" --tokenizer gpt2 --out tokens

      npgpt tokenize python-docs --steps 10
    """
    if steps is not None:
        if out is not None:
            raise typer.BadParameter("give either --steps or --out, not both.")
        _show_steps(corpus, steps, field, errors)
        return
    from npgpt.cli.progress import COMPILING_TOKENIZER, progress_bar
    from npgpt.data import StreamedCorpus, write_token_folder
    from npgpt.data.streams import DocumentEncoder
    from npgpt.runs.tokenizer import check_tokenizer_name

    try:
        check_tokenizer_name(tokenizer)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if out is not None and out.exists() and (out.is_file() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists already; choose another folder.")
    with progress_bar(console, "Reading"):
        source = StreamedCorpus(corpus, validation_fraction, field, errors)
    with progress_bar(console, "Training the tokenizer", COMPILING_TOKENIZER) as progress:
        made = _tokenizer(tokenizer, source, vocab_size, progress)
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
        f"[bold]{source.name}[/bold]: {source.num_characters:,} characters, {total:,} tokens "
        f"({source.num_characters / total:.2f} characters a token), vocabulary of "
        f"{made.vocab_size:,} ({type(made).__name__})",
        soft_wrap=True,
    )
    if first is not None:
        for token in first.tolist():
            console.print(f"{token:>7}  {made.decode([token])!r}", markup=False)
        return
    console.print(
        f"{train:,} tokens to train on, {validation:,} held out, in {out}", soft_wrap=True
    )
    console.print(f"Next: npgpt train {out}", soft_wrap=True)


def _tokenizer(kind: str, source, vocab_size: int, progress):
    from npgpt.runs.tokenizer import make_tokenizer

    return make_tokenizer(
        kind,
        source.train_texts,
        lambda: (text for text, _ in source.pieces()),
        vocab_size,
        end_of_text=True,
        progress=progress,
    )


def _show_steps(corpus: str, steps: int, field: str, errors: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from npgpt.data import stream_corpus
    from npgpt.tokenizers import WordBPETokenizer

    texts = (text for text, _ in stream_corpus(corpus, field, errors))  # no word is cut
    trained = WordBPETokenizer.train(texts, num_merges=steps, record=True)
    table = Table(box=None, pad_edge=False)
    for column in ("step", "count", "tokens left"):
        table.add_column(column, justify="right")
    for column in ("pair", "new token"):
        table.add_column(column)
    for number, step in enumerate(trained.steps or [], 1):
        pair = Text(f"{step.left!s} + {step.right!s}"[:NARROW])
        row = (str(number), f"{step.count:,}", f"{step.tokens_left:,}")
        table.add_row(*row, pair, Text(f"{step.token!s}"[:NARROW]))
    console.print(table)

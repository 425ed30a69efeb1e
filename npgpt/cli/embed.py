"""npgpt embed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.arguments import (
    AsJson,
    BertModel,
    Checkpoint,
    Revision,
    open_bert_argument,
)
from npgpt.cli.shared.console import console, error_console
from npgpt.cli.shared.tables import make_table
from npgpt.cli.shared.texts import read_texts

if TYPE_CHECKING:
    import numpy as np

MOST_SHOWN = 10  # texts of a table of cosines
FIRST_NUMBERS = 6  # of the vector of a single text


@tells_errors
def embed_command(
    model: BertModel,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...",
            help="The texts; - reads standard input, as does nothing at all in a pipe: a text each "
            "line.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Read the lines of a file instead, of UTF-8.", metavar="FILE"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the vectors to this file, a row a text, as numpy.load reads it.",
            metavar="FILE.npy",
        ),
    ] = None,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize/--no-normalize",
            help="Make each vector 1 long, so that inner products are cosines.",
        ),
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it is there.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at a time.")] = 32,
    checkpoint: Checkpoint = "best",
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Make a vector of each text: the mean of what the model makes of its tokens.

    Of two to ten texts a table of cosines tells which are near each other, 1 for the same
    direction; of more texts the vectors go to --out or to --json.

    [bold]Examples[/bold]

      npgpt embed sentence-transformers/all-MiniLM-L6-v2 "A cat sat." "A dog sat." "It rains."

      npgpt embed runs/masked --file texts.txt --out vectors.npy
    """
    from npgpt.cli.shared.progress import progress_bar

    if out is not None:
        _check_out(out, force)
    named = read_texts(texts or (), file)
    if len(named) > MOST_SHOWN and out is None and not as_json:
        raise typer.BadParameter(
            f"a table of {len(named):,} texts is too wide to show: give --out FILE.npy, or --json."
        )
    opened = open_bert_argument(model, checkpoint, revision)
    for where, text in named:
        try:
            opened.encode(text)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    given = [text for _, text in named]
    with progress_bar(error_console, "Reading") as progress:
        vectors = opened.vectors(given, normalize, batch_size, progress)
    if out is not None:
        _save(out, vectors)
    if as_json:
        told = {"normalized": normalize, "texts": given, "vectors": vectors.tolist()}
        print(json.dumps(told))
        return
    numbers = f"{vectors.shape[1]:,} numbers"
    size = f"{len(given):,} texts, {numbers} each" if len(given) > 1 else f"1 text, {numbers}"
    console.print(f"{out}: {size}" if out is not None else size, soft_wrap=True)
    if len(given) == 1:
        first = " ".join(f"{number:.4f}" for number in vectors[0, :FIRST_NUMBERS])
        console.print(f"{first} ..." if vectors.shape[1] > FIRST_NUMBERS else first)
    elif len(given) <= MOST_SHOWN:
        _print_cosines(given, vectors)


def _check_out(out: Path, force: bool) -> None:
    """Refuse, before anything is computed, a file that could not be written."""
    if out.suffix != ".npy":
        raise typer.BadParameter(f"--out must end with .npy, got {out}.")
    if out.exists() and not force:
        raise FileExistsError(
            f"{out} exists already; choose another file with --out, or replace it with --force."
        )
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {out.parent} to write {out.name} in.")


def _save(out: Path, vectors: np.ndarray) -> None:
    import io

    import numpy as np

    from npgpt.files import write_atomically

    content = io.BytesIO()
    np.save(content, vectors, allow_pickle=False)
    write_atomically(out, content.getvalue())


def _print_cosines(texts: list[str], vectors: np.ndarray) -> None:
    import numpy as np

    from npgpt.trace.token_text import printable

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    table = make_table("Cosines", "", "text", *(str(i + 1) for i in range(len(texts))), left=2)
    for i, (text, cosines) in enumerate(zip(texts, unit @ unit.T, strict=True)):
        table.add_row(str(i + 1), printable(text), *(f"{cosine:.2f}" for cosine in cosines))
    console.print(table)

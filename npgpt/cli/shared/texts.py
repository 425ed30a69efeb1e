"""Texts that a command is given: as arguments, as the lines of a file, or of standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from npgpt.cli.shared.console import read_input

STANDARD_INPUT = "-"


def read_texts(texts: Sequence[str], file: Path | None) -> list[tuple[str, str]]:
    """Return texts, each with the place where it stands.

    Parameters
    ----------
    texts : sequence of str
        - alone stands for standard input, a text a line, as does nothing at all in a pipe.
    file : Path or None
        In the place of the texts, one a line.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file or the input is not UTF-8.
    """
    from npgpt.data.pairs.files import lines_of

    if texts and file is not None:
        raise typer.BadParameter("a TEXT and --file are two sources: leave one of them out.")
    if file is not None:
        if not file.is_file():
            raise FileNotFoundError(f"There is no file {file}.")
        return [(f"{file}, line {number}", line) for number, line in lines_of(file)]
    if not texts and sys.stdin.isatty():
        raise typer.BadParameter("give a TEXT, --file FILE, or - for standard input.")
    if not texts or [*texts] == [STANDARD_INPUT]:
        lines = read_input().removesuffix("\n").split("\n")
        return [(f"Standard input, line {i}", line) for i, line in enumerate(lines, 1)]
    if len(texts) == 1:
        return [("TEXT", texts[0])]
    return [(f"TEXT {i}", text) for i, text in enumerate(texts, 1)]

"""Records: tables and JSON objects, each with the row it came from."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

UCI_COLUMNS = ("label", "text")  # of the SMS Spam Collection, which has no header


class Record(NamedTuple):
    """The fields of a record, and where it is: a row of a table, a line of .jsonl, an element."""

    where: str
    fields: dict[str, Any]


def read_records(path: str | Path, columns: Sequence[str] = ()) -> list[Record]:
    """Read all records of a file.

    Parameters
    ----------
    path : path
        ``.csv`` has commas, quotes and a header; ``.tsv``, or a name without an ending, has tabs
        and no quotes; ``.jsonl`` an object on each line; ``.json`` a list of objects. All UTF-8.
    columns : sequence of str
        Names that must be in every record. A table of tabs with two columns and a first row
        without these names has no header: its columns are ``label`` and ``text``, as in the UCI SMS
        Spam Collection.

    Returns
    -------
    list of Record
        Rows are counted from 1, the header included.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If the file is empty, is not what its name says, or a column is missing; with the row.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start}.") from None
    kinds = {".csv": _table, ".tsv": _table, "": _table, ".jsonl": _json_lines, ".json": _json}
    if path.suffix not in kinds:
        raise ValueError(f"{path}: records are read from .csv, .tsv, .json and .jsonl files.")
    records = list(kinds[path.suffix](path, text, columns))
    if not records:
        raise ValueError(f"{path} has no records.")
    for where, fields in records:
        missing = [name for name in columns if name not in fields]
        if missing:
            raise ValueError(
                f"{where}: there is no {missing[0]!r}; there is {', '.join(map(repr, fields))}."
            )
    return records


def text_field(record: Record, name: str, optional: bool = False) -> str:
    """Return a field that must be a text, without white space around it.

    Raises
    ------
    ValueError
        If it is missing, empty (unless optional) or no text; with the row.
    """
    value = record.fields.get(name)
    if value is None and optional:
        return ""
    if value is None:
        raise ValueError(f"{record.where}: there is no {name!r}.")
    if not isinstance(value, str):
        raise ValueError(f"{record.where}: {name!r} must be a text, got {type(value).__name__}.")
    if not value.strip() and not optional:
        raise ValueError(f"{record.where}: {name!r} is empty.")
    return value.strip()


def _table(path: Path, text: str, columns: Sequence[str]) -> Iterator[Record]:
    lines = text.splitlines(keepends=True)
    if path.suffix == ".csv":
        reader = csv.reader(lines, strict=True)
    else:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    header: list[str] | None = None
    row = 0
    try:
        for cells in reader:
            row += 1
            if not cells:
                continue
            if header is None:
                header = cells
                if path.suffix == ".csv" or len(cells) != 2 or set(columns) & set(cells):
                    continue
                header = list(UCI_COLUMNS)
            if len(cells) != len(header):
                raise ValueError(
                    f"{path}, row {row}: {len(cells)} columns where there must be {len(header)}."
                )
            yield Record(f"{path}, row {row}", dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise ValueError(f"{path}, row {row + 1}: {error}.") from None


def _json_lines(path: Path, text: str, columns: Sequence[str]) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield Record(where, _object(json.loads(line), where))
            except json.JSONDecodeError as error:
                raise ValueError(f"{where} is not JSON: {error.msg}.") from None


def _json(path: Path, text: str, columns: Sequence[str]) -> Iterator[Record]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error.msg} in line {error.lineno}.") from None
    if not isinstance(content, list):
        raise ValueError(f"{path}: a .json file of records must hold a list.")
    for number, fields in enumerate(content, 1):
        where = f"{path}, record {number}"
        yield Record(where, _object(fields, where))


def _object(fields: Any, where: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: a record must be a JSON object, got {type(fields).__name__}.")
    return fields

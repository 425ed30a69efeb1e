"""Records: tables and JSON objects, each with the row it came from."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

UCI_COLUMNS = ("label", "text")  # of the SMS Spam Collection, which has no header
LARGEST_FIELD = (
    2**31 - 1
)  # characters: the csv module's own limit, 131,072, is less than an article
SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas"}

logger = logging.getLogger(__name__)


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
        and no quotes; ``.jsonl`` an object on each line; ``.json`` a list of objects. All UTF-8;
        capitals in the ending do not matter. A row ends at a carriage return, a line feed or
        both, a line of ``.jsonl`` at a line feed, and at no other character.
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
    text = read_text(path)
    kinds = {".csv": _table, ".tsv": _table, "": _table, ".jsonl": _json_lines, ".json": _json}
    suffix = path.suffix.lower()
    if suffix not in kinds:
        raise ValueError(f"{path}: records are read from .csv, .tsv, .json and .jsonl files.")
    records = list(kinds[suffix](path, text, columns))
    if not records:
        raise ValueError(f"{path} has no records.")
    for where, fields in records:
        missing = [name for name in columns if name not in fields]
        if missing:
            raise ValueError(
                f"{where}: there is no {missing[0]!r}; there is {', '.join(map(repr, fields))}."
            )
    return records


def read_text(path: Path) -> str:
    """Read a file of UTF-8, without its byte-order mark.

    Raises
    ------
    ValueError
        If it is not UTF-8; with the line.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line} is not UTF-8: {error.reason} at byte {error.start}."
        ) from None


def text_field(record: Record, name: str, optional: bool = False) -> str:
    """Return a field that must be a text, exactly as it is.

    Raises
    ------
    ValueError
        If it is missing, nothing but white space (unless optional) or no text; with the row.
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
    return value


def name_field(record: Record, name: str) -> str:
    """Return a field that names something, such as a class, without white space around it."""
    return text_field(record, name).strip()


def _table(path: Path, text: str, columns: Sequence[str]) -> Iterator[Record]:
    is_csv = path.suffix.lower() == ".csv"
    lines = io.StringIO(text, newline="")  # str.splitlines would cut at U+2028 and eight others
    if is_csv:
        reader = csv.reader(lines, strict=True)
    else:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    header: list[str] | None = None
    headless, first_cells = False, []
    for row, cells in _rows(path, reader):
        first_cells.append(cells[0])
        if header is None:
            header = cells
            _check_header(path, row, header, columns, "," if is_csv else "\t")
            if is_csv or len(cells) != 2 or set(columns) & set(cells):
                continue
            header, headless = list(UCI_COLUMNS), True
        if len(cells) != len(header):
            raise ValueError(
                f"{path}, row {row}: {len(cells)} columns where there must be {len(header)}."
            )
        yield Record(f"{path}, row {row}", dict(zip(header, cells, strict=True)))
    if headless and first_cells.count(first_cells[0]) == 1:
        logger.warning(
            "%s has no header with %s: %r is read as the label of its first row.",
            path,
            " and ".join(map(repr, columns or UCI_COLUMNS)),
            first_cells[0],
        )


def _rows(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not empty with their numbers; fields may be of any length."""
    row, before = 0, csv.field_size_limit(LARGEST_FIELD)
    try:
        for row, cells in enumerate(reader, 1):
            if cells:
                yield row, cells
    except csv.Error as error:
        raise ValueError(f"{path}, row {row + 1}: {error}.") from None
    finally:
        csv.field_size_limit(before)


def _check_header(
    path: Path, row: int, header: list[str], columns: Sequence[str], separator: str
) -> None:
    twice = [name for name in columns if header.count(name) > 1]
    if twice:
        raise ValueError(f"{path}, row {row}: two columns have the name {twice[0]!r}.")
    if len(header) > 1 or not columns:
        return
    for other, words in SEPARATORS.items():
        if other != separator and set(columns) <= {c.strip() for c in header[0].split(other)}:
            raise ValueError(
                f"{path}: its columns stand between {words}, where there must be "
                f"{SEPARATORS[separator]}."
            )


def _json_lines(path: Path, text: str, columns: Sequence[str]) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield Record(where, _object(_from_json(line, where), where))


def _json(path: Path, text: str, columns: Sequence[str]) -> Iterator[Record]:
    content = _from_json(text, str(path))
    if not isinstance(content, list):
        held = content if isinstance(content, dict) else {}
        lists = [name for name, value in held.items() if isinstance(value, list)]
        where = f"; write what is at {lists[0]!r} to a file of its own" if lists else ""
        raise ValueError(
            f"{path}: a .json file of records must hold a list, got {type(content).__name__}"
            f"{where}."
        )
    for number, fields in enumerate(content, 1):
        where = f"{path}, record {number}"
        yield Record(where, _object(fields, where))


def _from_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f" in line {error.lineno}" if "\n" in text else ""
        lines = error.msg == "Extra data" and error.lineno > 1
        hint = "; a file with an object on each line has the ending .jsonl" if lines else ""
        raise ValueError(f"{where} is not JSON: {error.msg}{place}{hint}.") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets
        raise ValueError(f"{where} is not JSON that can be read: {error}.") from None


def _object(fields: Any, where: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: a record must be a JSON object, got {type(fields).__name__}.")
    return fields

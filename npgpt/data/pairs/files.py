"""Pairs in files: tables as Anki and Tatoeba write them, two parallel texts, JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from npgpt.data.pairs.corpus import Found
from npgpt.data.records import Record, read_records, read_text

SETTING = re.compile(r"#[a-z ]+:[^\t]*$")
ANKI, TATOEBA = "source, tab, target", "id, text, id, text"
# names of the two sides where a record has them, the first that fits
SIDES = (("source", "target"), ("src", "tgt"), ("src", "trg"), ("input", "output"))
TRANSLATION = "translation"  # Hugging Face's column, an object with a text for each language


def table_pairs(path: Path) -> Iterator[Found]:
    """Read a table without a header.

    Anki has the source, a tab, the target, and perhaps a tab and an attribution; Tatoeba has an id
    before each text. The first line tells which. Settings that Anki writes before it, such as
    ``#separator:tab``, are passed over.

    Raises
    ------
    ValueError
        If a line has another number of columns.
    """
    kind = ""
    for number, line in lines_of(path):
        if not line.strip(" ") or (not kind and SETTING.match(line)):
            continue
        where, columns = f"{path}, line {number}", line.split("\t")
        if not kind:
            with_ids = len(columns) == 4 and columns[0].strip().isdigit()
            kind = TATOEBA if with_ids and columns[2].strip().isdigit() else ANKI
        if len(columns) == 1:
            raise ValueError(f"{where}: there is no tab; a line must be: {kind}.")
        if kind == TATOEBA:
            if len(columns) != 4:
                raise ValueError(f"{where}: {len(columns)} columns where there must be 4: {kind}.")
            yield Found(where, columns[1], columns[3])
        else:
            if len(columns) > 3:
                raise ValueError(
                    f"{where}: {len(columns)} columns where there must be 2, or 3 with an "
                    f"attribution: {kind}."
                )
            yield Found(where, columns[0], columns[1])


def parallel_pairs(source: Path, target: Path) -> Iterator[Found]:
    """Read two texts, of which line ``i`` is the translation of line ``i``.

    Lines that are empty in both are left out.

    Raises
    ------
    ValueError
        If one has more lines.
    """
    texts = [[line for _, line in lines_of(path)] for path in (source, target)]
    lengths = [len(lines) for lines in texts]
    for number, (line, other) in enumerate(zip_longest(*texts, fillvalue=""), 1):
        if number > min(lengths):
            longer, shorter = (source, target) if lengths[0] > lengths[1] else (target, source)
            raise ValueError(
                f"{longer}, line {number}: {shorter} ends before it, with {min(lengths):,} lines "
                f"to {max(lengths):,}; two parallel files must have equally many."
            )
        if line.strip() or other.strip():
            yield Found(f"{source if not line.strip() else target}, line {number}", line, other)


def json_pairs(path: Path) -> Iterator[Found]:
    """Read an object on each line.

    The sides are ``source`` and ``target``, ``src`` and ``tgt`` (or ``trg``), ``input`` and
    ``output``, or the two languages of a ``translation`` as Hugging Face writes it, or else the
    only two texts there are, such as ``en`` and ``de``; in the order in which the first line has
    them.

    Raises
    ------
    ValueError
        If a side is not there or no text, or a line is no JSON object.
    """
    names: tuple[str, str] | None = None
    for where, fields in read_records(path):
        if isinstance(fields.get(TRANSLATION), dict):
            fields = fields[TRANSLATION]
        names = names or _sides(Record(where, fields))
        for name in names:
            if not isinstance(fields.get(name), str):
                what = "must be a text" if name in fields else "is not there"
                raise ValueError(f"{where}: the side {name!r} {what}.")
        yield Found(where, fields[names[0]], fields[names[1]])


def _sides(record: Record) -> tuple[str, str]:
    where, fields = record
    for names in SIDES:
        if fields.keys() >= {*names}:
            return names
    texts: list[Any] = [name for name, value in fields.items() if isinstance(value, str)]
    if len(texts) != 2:
        raise ValueError(
            f"{where}: there is no 'source' and 'target', and no other two texts that could be "
            f"meant; there is {', '.join(map(repr, fields)) or 'nothing'}."
        )
    return texts[0], texts[1]


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a text with their numbers; they end at a line feed and at no other."""
    lines = read_text(path).removesuffix("\n").split("\n")
    return [(number, line.removesuffix("\r")) for number, line in enumerate(lines, 1)]

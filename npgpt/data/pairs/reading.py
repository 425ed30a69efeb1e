"""Sentence pairs by what names them: a task that is built in, catalogues, files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from npgpt.data.left_out import LeftOut
from npgpt.data.pairs import catalogues
from npgpt.data.pairs.corpus import Pair, PairCorpus, checked_pairs
from npgpt.data.pairs.dates import date_pairs
from npgpt.data.pairs.files import json_pairs, parallel_pairs, table_pairs
from npgpt.data.pairs.numbers import LANGUAGES, number_pairs
from npgpt.data.pairs.reversed import reversed_pairs
from npgpt.fields import did_you_mean

# what makes the pairs of each task that needs no file, by its name
BUILT_IN_PAIRS: dict[str, Callable[[], list[Pair]]] = {
    "dates": date_pairs,
    "numbers": number_pairs,
    **{f"numbers:{name}": functools.partial(number_pairs, (name,)) for name in LANGUAGES},
    "reverse": reversed_pairs,
}
TABLES = (".tsv", ".txt")


def read_pairs(source: str | Path) -> PairCorpus:
    """Read sentence pairs.

    Parameters
    ----------
    source : str or path
        A built-in task (``dates``, ``numbers``, ``numbers:de``, ``numbers:en``, ``numbers:fr``,
        ``reverse``); ``gettext:LANGUAGE``, the catalogues of this machine; a table of tabs
        (``.tsv``, ``.txt``), lines of JSON (``.jsonl``) or a catalogue (``.mo``); or two parallel
        files with a comma between them, ``a.en,a.de``. A file that exists is read even if it has
        the name of something else.

    Returns
    -------
    PairCorpus
        Each pair once, without white space at its ends; what was left out stands in it too.

    Raises
    ------
    FileNotFoundError
        If there is nothing of that name; with the nearest.
    ValueError
        If a file is not what its name says, or a side is empty; with the line.
    """
    name, path, left_out = str(source), Path(source), LeftOut()
    if path.is_file():
        pairs = _of_file(path, left_out)
    elif name in BUILT_IN_PAIRS:
        return PairCorpus(name, BUILT_IN_PAIRS[name](), left_out, built_in=True)
    elif name.startswith(catalogues.PREFIX):
        pairs = catalogues.machine_pairs(name.removeprefix(catalogues.PREFIX), left_out)
    elif "," in name:
        paths = _two_paths(name)
        path = paths[0]
        pairs = checked_pairs(parallel_pairs(*paths), left_out)
    else:
        known = [*BUILT_IN_PAIRS, f"{catalogues.PREFIX}LANGUAGE"]
        raise FileNotFoundError(
            f"There is no file {name}, and there are no built-in pairs of that name"
            f"{did_you_mean(name, known)}"
        )
    if not pairs:
        raise ValueError(f"{name} has no pairs. {' '.join(left_out.sentences())}".rstrip())
    return PairCorpus(path.name, pairs, left_out)


def _of_file(path: Path, left_out: LeftOut) -> list[Pair]:
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return checked_pairs(table_pairs(path), left_out)
    if suffix == ".jsonl":
        return checked_pairs(json_pairs(path), left_out)
    if suffix == ".mo":
        return catalogues.message_pairs(catalogues.catalogue_messages(path), left_out)
    raise ValueError(
        f"{path}: pairs are read from {', '.join(TABLES)}, .jsonl and .mo files, and from two "
        "parallel files with a comma between their names."
    )


def _two_paths(name: str) -> tuple[Path, Path]:
    """Find the comma between two files; either name may have commas of its own."""
    cuts = [i for i, character in enumerate(name) if character == ","]
    halves = [(Path(name[:cut]), Path(name[cut + 1 :])) for cut in cuts]
    for both in halves:
        if all(path.is_file() for path in both):
            return both
    missing = [path for path in halves[0] if not path.is_file()]
    raise FileNotFoundError(f"There is no file {missing[0]}, of the two parallel files {name}.")

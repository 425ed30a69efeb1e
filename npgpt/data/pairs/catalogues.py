"""Pairs from the machine itself: the catalogues of its programs' messages, read where they lie."""

from __future__ import annotations

import logging
import os
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from gettext import GNUTranslations
from pathlib import Path

from npgpt.data.left_out import LeftOut
from npgpt.data.pairs.corpus import Found, Pair
from npgpt.data.pairs.placeholders import with_numbers, without_accelerators
from npgpt.data.records import Record
from npgpt.fields import did_you_mean, short

PREFIX = "gettext:"
MESSAGES = "LC_MESSAGES"
CONTEXT = "\x04"  # between the context of a message and its text
NO_MESSAGES = {"", "translator-credits", "translator_credits"}  # the header, and who translated
logger = logging.getLogger(__name__)


def locale_folders() -> list[Path]:
    """Return the folders in which programs look for catalogues, those that are there.

    ``locale`` and ``locale-langpack`` in each folder of ``XDG_DATA_DIRS`` (by default
    ``/usr/local/share`` and ``/usr/share``), and Python's own.
    """
    data = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = [Path(folder) for folder in data.split(os.pathsep) if folder]
    found = [folder / name for folder in folders for name in ("locale", "locale-langpack")]
    found.append(Path(sys.base_prefix) / "share" / "locale")
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def languages() -> list[str]:
    """Return the languages of which there are catalogues, by their names such as ``pt_BR``."""
    found = {path.parts[-3] for folder in locale_folders() for path in _catalogues(folder, "*")}
    return sorted(found)


def catalogue_paths(language: str) -> list[Path]:
    """Find the catalogues of a language, in the order of their names.

    Raises
    ------
    ValueError
        If there is none.
    """
    folders, known = locale_folders(), languages()
    if language not in known:
        raise ValueError(
            f"{PREFIX}{language}: there is no catalogue of the language {language!r} in "
            f"{', '.join(map(str, folders)) or 'the usual folders'}{did_you_mean(language, known)}"
        )
    paths = [path for folder in folders for path in _catalogues(folder, language)]
    return sorted(paths, key=lambda path: (path.name, path))


def _catalogues(folder: Path, language: str) -> Iterator[Path]:
    return folder.glob(f"{language}/{MESSAGES}/*.mo")


def machine_pairs(language: str, left_out: LeftOut) -> list[Pair]:
    """Read all catalogues of a language.

    One that is damaged is left out, and logged, because it is not the user's.

    Parameters
    ----------
    language : str
    left_out : LeftOut
        Gets what is no sentence pair.
    """
    return message_pairs(_readable(catalogue_paths(language)), left_out)


def _readable(paths: list[Path]) -> Iterator[Found]:
    for path in paths:
        try:
            found = [*catalogue_messages(path)]
        except (ValueError, OSError) as error:
            logger.warning("%s It is left out.", error)
        else:
            yield from found


def catalogue_messages(path: Path) -> Iterator[Found]:
    """Read the messages of a ``.mo`` file, those that are translated.

    Of a message with plural forms, that for one. The context is dropped.

    Raises
    ------
    ValueError
        If it is no whole catalogue.
    """
    try:
        with open(path, "rb") as file:
            read = vars(GNUTranslations(file))
    except (OSError, ValueError, LookupError, struct.error) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # a file that is not there or may not be read
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"{path} is not a whole catalogue of gettext: {reason}.") from None
    for message, translation in read["_catalog"].items():
        if isinstance(message, tuple):
            message, form = message
            if form != read["plural"](1):
                continue
        source = message.rpartition(CONTEXT)[2]
        if source not in NO_MESSAGES and translation:
            yield Found(f"{path}, {short(source)}", source, translation)


def message_pairs(messages: Iterator[Found], left_out: LeftOut) -> list[Pair]:
    """Make sentence pairs of messages.

    White space becomes one blank, placeholders become ``{1}``, ``{2}``, ..., accelerators go.
    Of several translations of a text the most frequent is taken.

    Parameters
    ----------
    messages : iterator of Found
    left_out : LeftOut
        Gets what has several lines, is not translated, or has other placeholders than its source.
    """
    targets: dict[str, Counter[str]] = defaultdict(Counter)
    for where, source, target in messages:
        several = "\n" in source.strip() or "\n" in target.strip()
        source, target = (" ".join(text.split()) for text in (source, target))
        numbered = with_numbers(source, target)
        if several:
            reason = "a side has several lines"
        elif numbered is None:
            reason = "the sides have other placeholders"
        else:
            source, target = without_accelerators(*numbered)
            reason = _reason(source, target)
        if reason:
            left_out.add(Record(where, {}), reason)
        else:
            targets[source][target] += 1
    return [Pair(source, found.most_common(1)[0][0]) for source, found in targets.items()]


def _reason(source: str, target: str) -> str:
    """Say why two lines are no sentence pair, or nothing."""
    if not (source and target):
        return "a side is empty"
    if source == target:
        return "the translation is the same text"
    if not any(map(str.isalpha, source)):
        return "the source holds no word"
    if not (source + target).isprintable():
        return "a side holds control characters"
    if source.count("|") > target.count("|"):
        return "a context stands before the source"
    return ""

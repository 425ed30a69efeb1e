"""What stands in a program's messages beside words: made the same everywhere."""

from __future__ import annotations

import itertools
import re

# C's and Python's conversions, without the flag " ", which would make "5% of" one; braces as of
# str.format, of shells and of Ruby
PLACEHOLDER = re.compile(
    r"""
    %%
    | %(?:(?P<place>\d+)\$)?(?:\((?P<name>\w+)\))?
      [-+\#0']*(?:\d+|\*)?(?:\.(?:\d+|\*))?
      (?:(?:hh?|ll?|[qjztL])?[diouxXeEfFgGaAcsSpr]|<PRI\w+>)
    | %(?P<errno>m)
    | [$%\#]?\{(?P<braces>[\w.]*)(?:[!:][^{}]*)?\}
    """,
    re.VERBOSE,
)
# before a letter: GTK's "_Open" and "E_xit", Qt's "&Open", but neither "__init__" nor "&lt;"
ACCELERATOR = re.compile(r"(?<!_)_(?=[^\W\d_])|&(?!\w+;)(?=[^\W\d_])")
# where a script has no such letters, behind the text: "開く(_O)"
ACCELERATOR_BEHIND = re.compile(r"\s*\([_&]\w\)")


def with_numbers(source: str, target: str) -> tuple[str, str] | None:
    """Write placeholders as ``{1}``, ``{2}``, ... in the order in which the source has them.

    Returns None if the two have not the same ones. A place in the target is found by its name or
    number if it has one (``%(name)s``, ``%2$s``, ``{name}``), or else by its turn.

    Examples
    --------
    >>> with_numbers("%s of %d", "%2$d: %1$s")
    ('{1} of {2}', '{2}: {1}')
    >>> with_numbers("100%% of %(name)s", "100 %% von %(name)s")
    ('100% of {1}', '100 % von {1}')
    >>> with_numbers("%d files", "files")
    """
    names: dict[str, int] = {}
    written = _numbered(source, names)
    others: dict[str, int] = {}
    _numbered(target, others)
    return (written, _numbered(target, names)) if others.keys() == names.keys() else None


def _numbered(text: str, names: dict[str, int]) -> str:
    """Put numbers in the place of placeholders; ``names`` gets those that it does not have."""
    turns = itertools.count(1)

    def written(match: re.Match[str]) -> str:
        if match.group() == "%%":
            return "%"
        name = next((text for text in match.groups() if text), "") or str(next(turns))
        return f"{{{names.setdefault(name, len(names) + 1)}}}"

    return PLACEHOLDER.sub(written, text)


def without_accelerators(source: str, target: str) -> tuple[str, str]:
    """Take away the mark before the letter that is pressed to choose an entry of a menu.

    It is one if both texts have one, and not within the same word, which is then a name.

    Examples
    --------
    >>> without_accelerators("E_xit", "_Beenden"), without_accelerators("_Open…", "開く(_O)…")
    (('Exit', 'Beenden'), ('Open…', '開く…'))
    >>> without_accelerators("LC_ALL is not set", "LC_ALL ist nicht gesetzt")
    ('LC_ALL is not set', 'LC_ALL ist nicht gesetzt')
    """
    found = [ACCELERATOR.findall(text) for text in (source, target)]
    if not len(found[0]) == len(found[1]) == 1 or _names(source) & _names(target):
        return source, target
    shown = ACCELERATOR.sub("", source)
    behind = ACCELERATOR_BEHIND.sub("", target)
    return shown, behind if behind != target else ACCELERATOR.sub("", target)


def _names(text: str) -> set[str]:
    """Return the words that have the mark in their middle."""
    words = {word.strip(".,:;()'\"") for word in text.split()}
    return {word for word in words if ACCELERATOR.search(word, 1)}

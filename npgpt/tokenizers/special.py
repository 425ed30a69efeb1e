"""Special tokens in a text: recognised where they are allowed, refused where they are not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

Names = Collection[str] | str


def chosen(names: Names, known: Sequence[str], argument: str, who: str) -> set[str]:
    """Read ``allowed_special`` or ``disallowed_special``: "all", or a collection of names.

    Raises
    ------
    ValueError
        If it is another string, or holds a name that is not a special token.
    """
    if isinstance(names, str):
        if names != "all":
            raise ValueError(
                f'{who}: {argument} must be "all" or a collection of names, got {names!r}; write '
                f"[{names!r}]."
            )
        return set(known)
    unknown = sorted(set(names) - set(known))
    if unknown:
        there = (
            f"the only special token is {known[0]}"
            if len(known) == 1
            else f"the special tokens are {', '.join(known)}"
            if known
            else "there are no special tokens"
        )
        raise ValueError(f"{who}: {there}, got {', '.join(unknown)}.")
    return set(names)


def refuse(text: str, names: Collection[str], who: str) -> None:
    """Raise ValueError if a special token is in a text."""
    if names and (match := _pattern(names).search(text)):
        name = match.group()
        raise ValueError(
            f"{who}: the special token {name} at position {match.start()} is not allowed; pass "
            f"allowed_special=[{name!r}] to recognise it, or leave it out of disallowed_special to "
            "read it as ordinary text."
        )


def parts_of(text: str, names: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Cut a text at special tokens; yield each ordinary part and the special token after it."""
    start = 0
    for match in _pattern(names).finditer(text) if names else ():
        yield text[start : match.start()], match.group()
        start = match.end()
    yield text[start:], None


def _pattern(names: Collection[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)  # of two that begin the same
    return re.compile("|".join(map(re.escape, longest_first)))

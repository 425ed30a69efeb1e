"""Added tokens in a text: recognised where they are allowed, refused where they are not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import regex

Names = Collection[str] | str
# Unicode's words and white space, as the tokenizers library has them; Python's own differ
WORD = regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]")
SPACE_AFTER, SPACE_BEFORE = regex.compile(r"\p{White_Space}*"), regex.compile(r"\p{White_Space}*\Z")


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token that is found in a text before anything else, and is never a part of another.

    Attributes
    ----------
    content : str
    special : bool
        Whether it is recognised only where the caller allows it, as the end of a text must be.
    single_word : bool
        Whether it is none inside a word.
    lstrip, rstrip : bool
        Whether it takes the white space before it, or after it, with it.
    normalized : bool
        Whether it is looked for in what those that are not have left over.
    """

    content: str
    special: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False

    @property
    def looks_around(self) -> bool:
        """Whether the white space around it, or in it, decides what it stands for."""
        return self.lstrip or self.rstrip or any(map(str.isspace, self.content))


def looked_for(
    text: str, who: str, special: Sequence[str], added: Collection[AddedToken],
    allowed_special: Names, disallowed_special: Names,
) -> list[AddedToken]:  # fmt: skip
    """List the added tokens that are recognised in a text: ordinary ones, and allowed special ones.

    Raises
    ------
    ValueError
        If the text holds one that is not allowed, or a name is not that of a special token.
    """
    allowed = chosen(allowed_special, special, "allowed_special", who)
    disallowed = chosen(disallowed_special, special, "disallowed_special", who)
    if disallowed_special == "all":
        disallowed -= allowed
    refuse(text, disallowed, who)
    return [token for token in added if not token.special or token.content in allowed]


def encode_parts(
    text: str,
    tokens: Collection[AddedToken],
    encode: Callable[[str], np.ndarray],
    ids: Mapping[str, int],
) -> np.ndarray:
    """Encode what stands between added tokens, and put their own ids there."""
    found = []
    for part, name in parts_of(text, tokens):
        found.append(encode(part))
        if name is not None:
            found.append(np.array([ids[name]], np.int64))
    return np.concatenate(found)


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


def parts_of(text: str, tokens: Collection[AddedToken]) -> Iterator[tuple[str, str | None]]:
    """Cut a text at added tokens; yield each ordinary part and the name of the token after it.

    Of tokens that begin at the same place the longest counts; those that are not ``normalized``
    come first, as in the tokenizers library.
    """
    first, second = (
        {token.content: token for token in tokens if token.normalized == normalized}
        for normalized in (False, True)
    )
    for part, name in _cut(text, first):
        for ordinary, inner in _cut(part, second):
            yield ordinary, name if inner is None else inner


def _cut(text: str, tokens: dict[str, AddedToken]) -> Iterator[tuple[str, str | None]]:
    start = 0  # of the part that is not yielded yet
    for match in _pattern(tokens).finditer(text) if tokens else ():
        token, (begin, end) = tokens[match.group()], match.span()
        inside = WORD.match(text, end) or (begin and WORD.match(text, begin - 1))
        if token.single_word and inside:
            continue
        if token.lstrip:
            begin = SPACE_BEFORE.search(text, start, max(begin, start)).start()
        if token.rstrip:
            end = SPACE_AFTER.match(text, end).end()
        yield text[start:begin], token.content
        start = end
    yield text[start:], None


def _pattern(names: Collection[str]) -> regex.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)  # of two that begin the same
    return regex.compile("|".join(map(regex.escape, longest_first)))

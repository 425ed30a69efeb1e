"""Text from a stream of tokens, as it becomes whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

UNFINISHED = "\ufffd"  # what bytes that are no whole character decode to


def stream_text(
    tokens: Iterable[int],
    decode: Callable[[list[int]], str],
    stop: Sequence[str] = (),
    stop_id: int | None = None,
) -> Iterator[str]:
    """Yield pieces of text; joined, they are the text that the tokens stand for.

    A character whose bytes are not all there yet is held back, and so is what may be the beginning
    of a stop string.

    Parameters
    ----------
    tokens : iterable of int
    decode : function
        From token ids to text, such as a tokenizer's ``decode``.
    stop : sequence of str
        The text ends before the first of them, and no further token is asked for.
    stop_id : int, optional
        The text ends before this token.

    Yields
    ------
    str
        Never empty.
    """
    ids: list[int] = []
    text, shown = "", 0
    for token in tokens:
        if token == stop_id:
            break
        ids.append(int(token))
        text = decode(ids)
        places = [place for place in (text.find(string) for string in stop) if place >= 0]
        if places:
            text = text[: min(places)]
            break
        whole = len(text) - _held_back(text, stop)
        if whole > shown:
            yield text[shown:whole]
            shown = whole
    if len(text) > shown:
        yield text[shown:]


def _held_back(text: str, stop: Sequence[str]) -> int:
    """How many characters at the end cannot be shown yet."""
    whole = text.rstrip(UNFINISHED)
    beginnings = (
        size
        for string in stop
        for size in range(1, min(len(string), len(whole) + 1))
        if whole.endswith(string[:size])
    )
    return len(text) - len(whole) + max(beginnings, default=0)

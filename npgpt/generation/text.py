"""Text from a stream of tokens, as it becomes whole; and what a tokenizer says about sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from npgpt.generation.sampling import Sampling
from npgpt.tokenizers import Tokenizer

UNFINISHED = "\ufffd"  # what bytes that are no whole character decode to


def stream_text(
    tokens: Iterable[int],
    decode: Callable[[list[int]], str],
    stop: Sequence[str] = (),
    stop_id: int | Collection[int] | None = None,
    prompt_ids: Sequence[int] | np.ndarray = (),
    prompt: str = "",
) -> Iterator[str]:
    """Yield pieces of text; joined, they are the text that the tokens stand for.

    Prompt and tokens are decoded together, because a tokenizer may put a space between two tokens,
    and what is new is yielded. A character whose bytes are not all there yet is held back, and so
    is what may be the beginning of a stop string.

    Parameters
    ----------
    tokens : iterable of int
    decode : function
        From token ids to text, such as a tokenizer's ``decode``. Of a tokenizer whose ``joins`` is
        true, what has been yielded is not decoded again: a token costs the same at every position.
    stop : sequence of str
        The text ends before the first of them, and no further token is asked for.
    stop_id : int or collection of int, optional
        The text ends before this token, or one of these.
    prompt_ids : sequence of int
        What the tokens continue.
    prompt : str
        Its text: where that ends with white space of its own, a tokenizer's space is left out.

    Yields
    ------
    str
        Never empty.

    Raises
    ------
    ValueError
        If a stop string is empty.
    """
    if "" in stop:
        raise ValueError("stop: a stop string must have at least one character.")
    stop_ids = Sampling(stop_id=stop_id).stop_ids
    ids = [int(token) for token in prompt_ids]
    before = decode(ids) if ids else ""
    spaced = prompt[-1:].isspace() and not before[-1:].isspace()
    joins = getattr(getattr(decode, "__self__", None), "joins", False)
    text, begin, shown = before, len(before), len(before)
    for token in tokens:
        if joins and shown == len(text) and text[-1:] != UNFINISHED:  # no need to read it again
            spaced = spaced and shown == begin
            ids, text, begin, shown = [], "", 0, 0
        if token in stop_ids:
            break
        ids.append(int(token))
        text = decode(ids)
        if spaced and shown == begin and text[begin : begin + 1] == " ":
            begin, shown = begin + 1, begin + 1
        places = [place for place in (text.find(string, begin) for string in stop) if place >= 0]
        if places:
            text = text[: min(places)]
            break
        whole = len(text) - _held_back(text[begin:], stop)
        if whole > shown:
            yield text[shown:whole]
            shown = whole
    if len(text) > shown:
        yield text[shown:]


def continuation(
    tokens: Iterable[int],
    tokenizer: Tokenizer,
    sampling: Sampling,
    prompt_ids: Sequence[int] | np.ndarray = (),
    prompt: str = "",
) -> str:
    """Return the text of new tokens, up to one that ends it; as `stream_text` makes it.

    Parameters
    ----------
    tokens : iterable of int
        The new ones.
    tokenizer : Tokenizer
    sampling : Sampling
        What ends the text.
    prompt_ids, prompt
        As for `stream_text`.
    """
    ends = sampling.stop_id
    return "".join(stream_text(tokens, tokenizer.decode, (), ends, prompt_ids, prompt))


def sampling_with(tokenizer: Tokenizer, model: Any, **choices: Any) -> Sampling:
    """Return how a model's tokens are drawn when they become text by this tokenizer.

    A text ends where the model's own sampling says and at the tokenizer's end of text; an id that
    stands for no token, as a padded vocabulary has, is never drawn.

    Parameters
    ----------
    tokenizer : Tokenizer
    model : LanguageModel
    **choices
        Fields of `Sampling`.
    """
    own, end = model.sampling, tokenizer.end_of_text_id
    ends = own.stop_ids if end is None else (*own.stop_ids, end)
    without = ids_without_token(tokenizer, model.config.vocab_size)
    sampling = dataclasses.replace(
        own, stop_id=tuple(dict.fromkeys(ends)), suppressed={*own.suppressed, *without}
    )
    return sampling.changed(choices)


def ids_without_token(tokenizer: Tokenizer, rows: int) -> list[int]:
    """List the rows of a model's vocabulary that stand for no token: holes, and padding behind it.

    A tokenizer whose ids have holes names them in ``unused_ids``.

    Parameters
    ----------
    tokenizer : Tokenizer
    rows : int
        Of the model's vocabulary.
    """
    holes = getattr(tokenizer, "unused_ids", ())
    return [*holes, *range(tokenizer.vocab_size, rows)]


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

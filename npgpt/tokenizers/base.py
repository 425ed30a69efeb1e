"""What every tokenizer can do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from npgpt.files import write_atomically
from npgpt.html_table import html_table
from npgpt.tokenizers.tokenizer_json import FORMAT
from npgpt.tokenizers.unsupported import Unsupported

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unk|>"
SHOWN_TOKENS = 8  # the first ones, in a notebook

T = TypeVar("T", bound="JSONTokenizer")


class Tokenizer(Protocol):
    """From text to ids and back.

    Attributes
    ----------
    vocab_size : int
        Ids are ``0 .. vocab_size - 1``.
    end_of_text_id : int or None
        The token between documents, if there is one.
    """

    @property
    def vocab_size(self) -> int: ...  # noqa: D102

    @property
    def end_of_text_id(self) -> int | None: ...  # noqa: D102

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into ids, an int64 array."""

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Turn texts into ids, each for itself."""

    def encode_prompt(self, text: str) -> np.ndarray:
        """Turn a text that a model is to continue into ids, with what its maker puts around it."""

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into the text they stand for."""

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that decides the ids of a text."""

    def bytes_per_token(self) -> np.ndarray:
        """Return each token's length in bytes of UTF-8, (vocab_size,); special tokens have 0."""

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to a file."""


class Shown:
    """What an interpreter and a notebook show of a tokenizer.

    Attributes
    ----------
    joins : bool
        Whether texts of tokens are put side by side as they are: what a token stands for does not
        depend on those before it, except where it goes on with a character that they began.
    """

    joins: Any = False
    vocab_size: Any
    end_of_text_id: Any
    decode: Callable[..., str]

    def __repr__(self) -> str:
        end = f", end_of_text_id={self.end_of_text_id}" if self.end_of_text_id is not None else ""
        return f"{type(self).__name__}(vocab_size={self.vocab_size:,}{end})"

    def _repr_html_(self) -> str:
        ids = sorted({*range(min(SHOWN_TOKENS, self.vocab_size)), self.vocab_size - 1})
        rows = [(i, repr(self.decode([i]))) for i in ids if i >= 0]
        return html_table(repr(self), ("id", "text"), rows, numbers=[0])


class JSONTokenizer(Shown):
    """A tokenizer whose file is JSON in a format of its own.

    A class of it has a ``FORMAT``, ``_content``, ready for JSON, and ``_from_content``.
    """

    FORMAT: ClassVar[str]
    VERSION: ClassVar[int] = 1
    _content: Callable[..., dict[str, Any]]
    _from_content: Callable[..., Any]
    encode: Callable[..., np.ndarray]

    def encode_prompt(self, text: str) -> np.ndarray:
        """Turn a text that a model is to continue into ids: `encode`, nothing is put around it."""
        return self.encode(text)

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Turn texts into ids, each for itself."""
        return [self.encode(text) for text in texts]

    def _to_json(self) -> str:
        return json.dumps({"format": self.FORMAT, "version": self.VERSION, **self._content()})

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that decides the ids of a text."""
        return hashlib.sha256(self._to_json().encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON."""
        write_atomically(path, (self._to_json() + "\n").encode())

    @classmethod
    def load(cls: type[T], path: str | Path) -> T:
        """Read what `save` wrote; raises ValueError if the file is something else."""
        return read_tokenizer(path, {cls.FORMAT: cls.from_dict})

    @classmethod
    def from_dict(cls: type[T], content: dict) -> T:
        """Make a tokenizer from the JSON of `save`.

        Raises
        ------
        KeyError, ValueError
            If it is of another version, or not what `save` writes.
        """
        version = content["version"]
        if version != cls.VERSION:
            raise ValueError(f"its version is {version!r}, but only {cls.VERSION} is known")
        return cls._from_content(content)


def read_tokenizer(path: str | Path, makers: Mapping[str, Callable[[dict], Any]]) -> Any:
    """Read a tokenizer file.

    Parameters
    ----------
    path : path
    makers : mapping of str to function
        By the formats that are welcome; they make a tokenizer from the JSON.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, of another format, or asks for what is not supported.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no tokenizer file {path}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content, dict):
            raise ValueError("its JSON is not an object")
        found = str(content.get("format", FORMAT))
        if found in makers:
            return makers[found](content)
    except Unsupported as error:
        raise ValueError(f"{path} is a tokenizer that npgpt does not support: {error}.") from None
    except KeyError as error:
        raise ValueError(f"{path} is not a whole tokenizer file: {error} is missing.") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).removesuffix(".")
        raise ValueError(f"{path} is not a whole tokenizer file: {reason}.") from None
    raise ValueError(
        f"{path} is a tokenizer file of the format {found!r}, not {' or '.join(map(repr, makers))}."
    )


def checked_ids(ids: Iterable[int], vocab_size: int, who: str) -> np.ndarray:
    """Return ids as an array, if each is a token's.

    Parameters
    ----------
    ids : iterable of int
    vocab_size : int
    who : str
        The class that asks, for the error.

    Returns
    -------
    ndarray of int64, shape (number of ids,)

    Raises
    ------
    ValueError
        If ids are not integers in one dimension, or one is outside the vocabulary.
    """
    if not isinstance(ids, Iterable):
        raise TypeError(f"{who}: ids must be a sequence of integers, such as [5], got {ids!r}.")
    array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{who}: ids must be a sequence of integers, got dtype {array.dtype} and shape "
            f"{array.shape}."
        )
    outside = np.flatnonzero((array < 0) | (array >= vocab_size))
    if outside.size:
        place = int(outside[0])
        raise ValueError(
            f"{who}: id {array[place]} at position {place} is outside the vocabulary of "
            f"{vocab_size} tokens."
        )
    return array.astype(np.int64)


def documents_of(text: str | Iterable[str], who: str) -> Iterable[str]:
    """Take one text, or several.

    Parameters
    ----------
    text : str or iterable of str
    who : str
        The class that asks, for the error.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if isinstance(text, bytes) or not isinstance(text, Iterable):
        raise TypeError(f"{who}: expected a text, or several, got {type(text).__name__}.")
    texts = [text] if isinstance(text, str) else text
    return (checked_text(one, who) for one in texts)


def checked_text(text: str, who: str) -> str:
    """Return a text; raises TypeError if it is something else.

    Parameters
    ----------
    text : str
    who : str
        The class that asks, for the error.
    """
    if not isinstance(text, str):
        decode = "; decode it first" if isinstance(text, (bytes, bytearray)) else ""
        raise TypeError(f"{who}: expected a text, a str, got {type(text).__name__}{decode}.")
    return text


def to_utf8(text: str, who: str, errors: str = "strict") -> bytes:
    """Write a text in UTF-8.

    Parameters
    ----------
    text : str
    who : str
        The class that asks, for the error.
    errors : {"strict", "replace", "surrogatepass"}
        What to do with a lone surrogate: raise; write U+FFFD, and join two halves that stand
        together; or write the three bytes of its number.

    Raises
    ------
    ValueError
        If the text holds a lone surrogate and ``errors`` is "strict", or ``errors`` is none of
        these words.
    """
    if errors not in ("strict", "replace", "surrogatepass"):
        raise ValueError(f"{who}: errors must be strict, replace or surrogatepass, got {errors!r}.")
    try:
        return text.encode("utf-8", "surrogatepass" if errors == "surrogatepass" else "strict")
    except UnicodeEncodeError as error:
        if errors == "replace":
            joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            return joined.encode("utf-8")
        raise ValueError(
            f"{who}: the character {text[error.start]!r} at position {error.start} is half of a "
            'surrogate pair, which UTF-8 cannot write; errors="replace" puts U+FFFD in its place.'
        ) from None

"""Byte-level byte-pair encoding, as in GPT-2."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import regex

from npgpt.files import write_atomically
from npgpt.tokenizers.base import END_OF_TEXT, as_documents, checked_ids
from npgpt.tokenizers.bpe_training import Pair, learn_merges
from npgpt.tokenizers.byte_alphabet import BYTE_TO_CHARACTER
from npgpt.tokenizers.tokenizer_json import from_json, to_json, vocabulary

# GPT-2's pre-tokens (Radford et al. 2019; released code): no merge crosses from one to the next
PRE_TOKEN = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
NUM_BYTES = 256
SMALLEST_VOCABULARY = NUM_BYTES + 1  # the bytes and <|endoftext|>
CACHE_SIZE = 1 << 16  # pre-tokens whose ids are remembered
LONGEST_CACHED = 64  # characters; longer pre-tokens hardly come back and would fill the memory


class BPETokenizer:
    """Bytes, merged pair by pair to subwords: no text is unknown.

    Ids 0 to 255 are the bytes in GPT-2's order, then one id a merge, then ``<|endoftext|>``
    (Sennrich, Haddow and Birch 2016, arXiv 1508.07909; Radford et al. 2019, section 2.2).

    Parameters
    ----------
    merges : iterable of (int, int)
        Pairs of ids, in the order in which they were learned.

    Raises
    ------
    ValueError
        If a merge uses an id that is not there yet, or makes a token that is there already.

    Examples
    --------
    >>> tokenizer = BPETokenizer.train("low lower lowest low low", vocab_size=260)
    >>> [tokenizer.token_bytes(i) for i in tokenizer.encode("slow")]
    [b's', b'low']
    """

    def __init__(self, merges: Iterable[Pair]):
        self.merges = [(int(left), int(right)) for left, right in merges]
        self._bytes = [bytes([byte]) for byte in BYTE_TO_CHARACTER]
        known = {*self._bytes, END_OF_TEXT.encode()}
        for left, right in self.merges:
            if not (0 <= left < len(self._bytes) and 0 <= right < len(self._bytes)):
                raise ValueError(
                    f"BPETokenizer: merge {len(self._bytes) - NUM_BYTES} joins {left} and {right}, "
                    f"but there are only {len(self._bytes)} tokens by then."
                )
            token = self._bytes[left] + self._bytes[right]
            if token in known:  # training never makes one twice, and a file names tokens by bytes
                raise ValueError(
                    f"BPETokenizer: merge {len(self._bytes) - NUM_BYTES} makes {token!r}, which is "
                    "a token already."
                )
            known.add(token)
            self._bytes.append(token)
        self._byte_ids = {byte: i for i, byte in enumerate(BYTE_TO_CHARACTER)}
        self._ranks = {pair: NUM_BYTES + i for i, pair in enumerate(self.merges)}
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> BPETokenizer:
        """Learn merges from a text, or several.

        The most frequent pair is merged first; of equally frequent ones, that with the lowest ids.

        Parameters
        ----------
        text : str or iterable of str
        vocab_size : int
            256 bytes, the merges, and ``<|endoftext|>``. The vocabulary stays smaller if no pair
            occurs more than once any more.
        progress : function, optional
            Called with (merges done, merges in all); it never changes the result.

        Returns
        -------
        BPETokenizer

        Raises
        ------
        ValueError
            If ``vocab_size`` is below 257, or the text is empty or holds a lone surrogate.
        """
        if vocab_size < SMALLEST_VOCABULARY:
            raise ValueError(
                f"BPETokenizer: vocab_size must be at least {SMALLEST_VOCABULARY} (256 bytes and "
                f"{END_OF_TEXT}), got {vocab_size}."
            )
        pre_tokens: Counter[str] = Counter()
        for document in as_documents(text):
            _check_utf8(document)
            pre_tokens.update(PRE_TOKEN.findall(document))
        if not pre_tokens:
            raise ValueError("BPETokenizer: the text to train on is empty.")
        start = cls([])
        words = {start._to_byte_ids(word): count for word, count in pre_tokens.items()}
        merges = learn_merges(words, vocab_size - SMALLEST_VOCABULARY, NUM_BYTES, progress)
        return cls(merges)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self._bytes) + 1

    @property
    def end_of_text_id(self) -> int:
        """Id of ``<|endoftext|>``, the last one."""
        return len(self._bytes)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes a token stands for; for ``<|endoftext|>``, its name.

        Raises
        ------
        ValueError
            If the id is outside the vocabulary.
        """
        (token_id,) = checked_ids([token_id], self.vocab_size, "BPETokenizer")
        return END_OF_TEXT.encode() if token_id == self.end_of_text_id else self._bytes[token_id]

    def bytes_per_token(self) -> np.ndarray:
        """Return the length of each token in bytes; ``<|endoftext|>`` has 0."""
        return np.array([*map(len, self._bytes), 0], np.int64)

    # --- encoding -----------------------------------------------------------------------------

    def encode(self, text: str, allowed_special: Collection[str] | str = ()) -> np.ndarray:
        """Turn a text into ids.

        Parameters
        ----------
        text : str
        allowed_special : collection of str, or "all"
            Special tokens that are recognised in the text. By default none is: a text from a
            stranger that holds ``<|endoftext|>`` gets the ids of those thirteen characters.

        Returns
        -------
        ndarray of int64, shape (number of tokens,)

        Raises
        ------
        ValueError
            If the text holds a lone surrogate, which UTF-8 cannot write, or a special token is
            unknown.
        """
        _check_utf8(text)
        if isinstance(allowed_special, str) and allowed_special != "all":
            raise ValueError(
                f'BPETokenizer: allowed_special must be "all" or a collection of names, got '
                f"{allowed_special!r}; write [{allowed_special!r}]."
            )
        special = {END_OF_TEXT} if allowed_special == "all" else set(allowed_special)
        if special - {END_OF_TEXT}:
            raise ValueError(
                f"BPETokenizer: the only special token is {END_OF_TEXT}, got "
                f"{', '.join(sorted(special))}."
            )
        ids: list[int] = []
        for i, part in enumerate(text.split(END_OF_TEXT) if special else [text]):
            if i:
                ids.append(self.end_of_text_id)
            for pre_token in PRE_TOKEN.findall(part):
                ids += self._encode_pre_token(pre_token)
        return np.array(ids, np.int64)

    def _encode_pre_token(self, pre_token: str) -> list[int]:
        ids = self._cache.get(pre_token)
        if ids is None:
            ids = self._apply_merges(list(self._to_byte_ids(pre_token)))
            if len(pre_token) <= LONGEST_CACHED:
                if len(self._cache) >= CACHE_SIZE:
                    self._cache.clear()
                self._cache[pre_token] = ids
        return ids

    def _apply_merges(self, ids: list[int]) -> list[int]:
        """Merge the pair that was learned first, until no pair was learned."""
        unknown = len(self._bytes)
        while len(ids) > 1:
            ranks = [self._ranks.get(pair, unknown) for pair in pairwise(ids)]
            lowest = min(ranks)
            if lowest == unknown:
                break
            merged: list[int] = []
            i = 0
            while i < len(ids):
                # overlapping pairs such as "aaa" are merged from the left
                if i < len(ranks) and ranks[i] == lowest:
                    merged.append(lowest)
                    i += 2
                else:
                    merged.append(ids[i])
                    i += 1
            ids = merged
        return ids

    def _to_byte_ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._byte_ids[byte] for byte in text.encode("utf-8"))

    # --- decoding -----------------------------------------------------------------------------

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Join the bytes of the tokens; ``<|endoftext|>`` is written out.

        Parameters
        ----------
        ids : iterable of int

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        pieces = [*self._bytes, END_OF_TEXT.encode()]
        checked = checked_ids(ids, self.vocab_size, "BPETokenizer")
        return b"".join([pieces[i] for i in checked.tolist()])

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """Turn ids into text.

        Parameters
        ----------
        ids : iterable of int
        errors : str
            What to do where the bytes are not UTF-8, as they may be when a sequence begins or ends
            in the middle of a character; as in `bytes.decode`.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        UnicodeDecodeError
            With ``errors="strict"``, if the bytes are not UTF-8.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    # --- files --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a ``tokenizer.json`` that Hugging Face's tokenizers library reads as well."""
        content = to_json(self._bytes, self.merges)
        write_atomically(path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> BPETokenizer:
        """Read what `save` wrote; raises ValueError if the file is something else."""
        from npgpt.tokenizers.files import load_as

        return load_as(cls, path)

    @classmethod
    def from_dict(cls, content: dict) -> BPETokenizer:
        """Make a tokenizer from the JSON of `save`.

        Raises
        ------
        KeyError, ValueError
            If it is not a byte-level BPE whose ids are in the order bytes, merges,
            ``<|endoftext|>``.
        """
        merges, ids = from_json(content)
        tokenizer = cls(merges)
        if ids != vocabulary(tokenizer._bytes):
            raise ValueError("its ids are not in the order bytes, merges, " + END_OF_TEXT)
        return tokenizer


def _check_utf8(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"BPETokenizer: the character {text[error.start]!r} at position {error.start} is half "
            "of a surrogate pair, which UTF-8 cannot write; replace it or leave it out."
        ) from None

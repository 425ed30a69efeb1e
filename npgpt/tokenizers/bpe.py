"""Byte-level byte-pair encoding, as in GPT-2."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npgpt.files import write_atomically
from npgpt.tokenizers.base import (
    END_OF_TEXT,
    Shown,
    checked_ids,
    checked_text,
    documents_of,
    read_tokenizer,
    to_utf8,
)
from npgpt.tokenizers.forms import forms
from npgpt.tokenizers.merge_step import MergeStep
from npgpt.tokenizers.reference import PRE_TOKEN
from npgpt.tokenizers.special import AddedToken, Names, encode_parts, looked_for
from npgpt.tokenizers.template import WHOLE, checked_template, fill
from npgpt.tokenizers.tokenizer_json import FORMAT, Ids, Pair, from_json, to_json
from npgpt.tokenizers.vocabulary import NUM_BYTES, byte_ids, vocabulary_of

__all__ = ["PRE_TOKEN", "BPETokenizer"]


class BPETokenizer(Shown):
    """Bytes, merged pair by pair to subwords: no text is unknown.

    Ids 0 to 255 are the bytes in GPT-2's order, then one id a merge, then the special tokens
    (Sennrich, Haddow and Birch 2016, arXiv 1508.07909; Radford et al. 2019, section 2.2).

    Parameters
    ----------
    merges : iterable of (int, int)
        Pairs of tokens, in the order in which they were learned. They are named by their places: 0
        to 255 for the bytes, then one a merge.
    special_tokens : sequence of str or AddedToken
        Tokens that stand for themselves: names of special ones, or `AddedToken`, which may be found
        in every text. One that is no special token may be a merge's too, and has its id.
    ids : sequence of int, optional
        The ids of bytes, merges and the tokens after them, where they are not in that order. Those
        that are left out below the highest are no token's, see ``unused_ids``.
    template : sequence of int or None
        What `encode_prompt` makes of a text: these ids, and its own where None stands.

    Raises
    ------
    ValueError
        If a merge uses a token that is not there yet, or makes one that is there already; if a
        special token is there twice; if ids are not one for each token, below 2**20 and each once;
        if an id of the template is no token's.

    Examples
    --------
    >>> tokenizer = BPETokenizer.train("low lower lowest low low", vocab_size=260)
    >>> [tokenizer.token_bytes(i) for i in tokenizer.encode("slow")]
    [b's', b'low']
    """

    joins = True

    def __init__(
        self,
        merges: Iterable[Pair],
        special_tokens: Sequence[str | AddedToken] = (END_OF_TEXT,),
        ids: Ids = None,
        template: Sequence[int | None] = WHOLE,
    ):
        who = type(self).__name__
        self.merges = [(int(left), int(right)) for left, right in merges]
        self.added_tokens = tuple(
            AddedToken(token, special=True) if isinstance(token, str) else token
            for token in special_tokens
        )
        self.special_tokens = tuple(t.content for t in self.added_tokens if t.special)
        self.steps: list[MergeStep] | None = None
        vocabulary = vocabulary_of(self.merges, special_tokens, ids, who)
        self._tokens, self._pieces, self._ids, self._added_ids, self.unused_ids = vocabulary
        self.template = checked_template(template, len(self._pieces), self.unused_ids, who)
        self._encoder: Any = None
        self._decoder: Any = None

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        progress: Callable[[int, int], None] | None = None,
        special_tokens: Sequence[str] = (END_OF_TEXT,),
        record: bool = False,
    ) -> BPETokenizer:
        """Learn merges from a text, or several.

        The most frequent pair is merged first; of equally frequent ones, that with the lowest ids.

        Parameters
        ----------
        text : str or iterable of str
            An iterable is gone through once, and its texts are not kept: it may be larger than the
            memory, as `npgpt.data.stream_corpus` reads it.
        vocab_size : int
            256 bytes, the merges, and the special tokens. The vocabulary stays smaller if no pair
            occurs more than once any more.
        progress : function, optional
            Called with (merges done, merges in all); it never changes the result.
        special_tokens : sequence of str
        record : bool
            Keep a table of the merges in the attribute ``steps``, a list of `MergeStep`.

        Returns
        -------
        BPETokenizer

        Raises
        ------
        ValueError
            If ``vocab_size`` is below 256 and the special tokens, or the text is empty or holds a
            lone surrogate.
        """
        smallest = NUM_BYTES + len(special_tokens)
        if vocab_size < smallest:
            raise ValueError(
                f"{cls.__name__}: vocab_size must be at least {smallest} (256 bytes and "
                f"{' and '.join(special_tokens) or 'no special token'}), got {vocab_size}."
            )
        code = forms()
        words = code.PreTokenCounts()
        for document in documents_of(text, cls.__name__):
            words.update(to_utf8(document, cls.__name__))
        if not len(words.counts):
            raise ValueError(f"{cls.__name__}: the text to train on is empty.")
        ids = np.array(byte_ids(), np.int64)[words.content]
        num_merges = vocab_size - smallest
        merges, table = code.learn_merges(
            ids, words.starts, words.counts, num_merges, NUM_BYTES, progress
        )
        tokenizer = cls(merges.tolist(), special_tokens)
        if record:
            tokenizer.steps = [
                MergeStep(tokenizer._tokens[left], tokenizer._tokens[right], count, token, tokens)
                for (left, right), token, (count, tokens) in zip(
                    merges.tolist(), tokenizer._tokens[NUM_BYTES:], table.tolist(), strict=True
                )
            ]
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """One more than the highest id: the number of tokens, and of ids that are none's."""
        return len(self._pieces)

    @property
    def end_of_text_id(self) -> int | None:
        """Id of ``<|endoftext|>``, or None if it is not a special token."""
        return self.special_ids.get(END_OF_TEXT)

    @property
    def special_ids(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return {name: self._added_ids[name] for name in self.special_tokens}

    @property
    def looks_around(self) -> bool:
        """Whether a text must be encoded whole, because white space decides more than its own."""
        return any(token.looks_around for token in self.added_tokens if not token.special)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that decides the ids of a text."""
        digest = hashlib.sha256(b"byte-level BPE")
        digest.update(np.array(self.merges, "<i8").tobytes())
        by_id = self._added_ids.__getitem__  # a file has them in this order, whatever theirs was
        special = sorted(self.special_tokens, key=by_id)
        digest.update(json.dumps({name: by_id(name) for name in special}).encode())
        if self._ids is not None:
            order = np.append(
                self._ids[: len(self._tokens)], np.sort(self._ids[len(self._tokens) :])
            )
            digest.update(order.astype("<i8").tobytes())
        added = sorted(self.added_tokens, key=lambda token: by_id(token.content))
        traits = [dataclasses.astuple(token) for token in added]
        plain = [(name, True, False, False, False) for name in special]
        # whether a token is normalized decides nothing where all are, or none
        if [t[:-1] for t in traits] != plain or len({t[-1] for t in traits}) > 1:
            ids = {token.content: by_id(token.content) for token in added}
            digest.update(json.dumps([traits, ids]).encode())
        if self.template != WHOLE:
            digest.update(json.dumps(self.template).encode())
        return digest.hexdigest()

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes a token stands for: a special one's are its name's, an unused id's none.

        Raises
        ------
        ValueError
            If the id is outside the vocabulary.
        """
        (token_id,) = checked_ids([token_id], self.vocab_size, type(self).__name__)
        return self._pieces[token_id]

    def bytes_per_token(self) -> np.ndarray:
        """Return the length of each token in bytes; special tokens have 0."""
        lengths = np.array([*map(len, self._pieces)], np.int64)
        lengths[[*self.special_ids.values()]] = 0
        return lengths

    # --- encoding -----------------------------------------------------------------------------

    def encode(
        self,
        text: str,
        allowed_special: Names = (),
        disallowed_special: Names = (),
        errors: str = "strict",
    ) -> np.ndarray:
        """Turn a text into ids.

        Parameters
        ----------
        text : str
        allowed_special : collection of str, or "all"
            Special tokens that are recognised in the text; added ones that are not special always
            are. By default none is: untrusted text that holds ``<|endoftext|>`` gets the ids of
            those thirteen characters.
        disallowed_special : collection of str, or "all"
            Special tokens that must not be in the text; "all" means those that are not allowed.
        errors : {"strict", "replace", "surrogatepass"}
            What to do with a lone surrogate, which UTF-8 cannot write: raise; put U+FFFD in its
            place and join two halves that stand together, as tiktoken does; or write its three
            bytes all the same, which `decode` with the same argument reads again.

        Returns
        -------
        ndarray of int64, shape (number of tokens,)

        Raises
        ------
        ValueError
            If the text holds a lone surrogate or a special token that is not allowed, or a name is
            not that of a special token.
        """
        who = type(self).__name__
        checked_text(text, who)
        found = looked_for(
            text, who, self.special_tokens, self.added_tokens, allowed_special, disallowed_special
        )
        if not found:
            return self.encode_bytes(to_utf8(text, who, errors))
        to_utf8(text, who, errors)  # so that an error names the place in the whole text
        return encode_parts(
            text, found, lambda part: self.encode_bytes(to_utf8(part, who, errors)), self._added_ids
        )

    def encode_prompt(self, text: str) -> np.ndarray:
        """Turn a text that a model is to continue into ids, in its place of the template.

        As `encode`, and as transformers does with ``add_special_tokens=True``: such as with a token
        for the beginning of a text before it.
        """
        return fill(self.template, self.encode(text))

    def encode_bytes(self, content: bytes) -> np.ndarray:
        """Turn bytes into ids; `decode_bytes` gives the same bytes back, whatever they are.

        Bytes that are not UTF-8 count as characters that are neither letters nor digits nor white
        space.
        """
        if self._encoder is None:
            self._encoder = forms().MergeEncoder(byte_ids(), self.merges)
        ids = self._encoder(content)
        return ids.astype(np.int64) if self._ids is None else self._ids[ids]

    def encode_batch(
        self, texts: Iterable[str], progress: Callable[[int, int], None] | None = None, **options
    ) -> list[np.ndarray]:
        """Turn texts into ids, each for itself.

        Parameters
        ----------
        texts : iterable of str
        progress : function, optional
            Called with (texts done, texts in all).
        **options
            As for `encode`.
        """
        texts = list(texts)
        ids = []
        for text in texts:
            ids.append(self.encode(text, **options))
            if progress:
                progress(len(ids), len(texts))
        return ids

    # --- decoding -----------------------------------------------------------------------------

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Join the bytes of the tokens; special tokens are written out, unused ids left out.

        Parameters
        ----------
        ids : iterable of int

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        checked = checked_ids(ids, self.vocab_size, type(self).__name__)
        if self._decoder is None:
            self._decoder = forms().PieceDecoder(self._pieces)
        return self._decoder(checked)

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
        write_atomically(path, self.to_json().encode())

    def to_json(self) -> str:
        """Return the content of the file that `save` writes."""
        content = to_json(
            self._tokens, self.merges, self._added_ids, self._ids, self.added_tokens, self.template
        )
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> BPETokenizer:
        """Read what `save` wrote; raises ValueError if the file is something else."""
        return read_tokenizer(path, {FORMAT: cls.from_dict})

    @classmethod
    def from_dict(cls, content: dict) -> BPETokenizer:
        """Make a tokenizer from the JSON of `save`, or of a byte-level BPE of Hugging Face.

        Raises
        ------
        KeyError, ValueError
            If it is not a byte-level BPE with GPT-2's pre-tokens, or its tokens are not the bytes,
            the merges and the added tokens.
        """
        return from_json(content).make(cls)

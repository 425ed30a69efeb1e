"""WordPiece, as in BERT: the longest token that a word begins with, then that of the rest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npgpt.files import write_atomically
from npgpt.tokenizers.base import (
    Shown,
    checked_ids,
    checked_text,
    documents_of,
    read_tokenizer,
    to_utf8,
)
from npgpt.tokenizers.bert_characters import Normalization
from npgpt.tokenizers.forms import forms
from npgpt.tokenizers.pairs import EncodedPair, joined
from npgpt.tokenizers.special import AddedToken, Names, encode_parts, looked_for
from npgpt.tokenizers.tokenizer_json import FORMAT
from npgpt.tokenizers.word_piece_file import (
    CLS,
    MASK,
    PAD,
    PREFIX,
    ROLES,
    SEP,
    UNKNOWN,
    from_json,
    to_json,
)
from npgpt.tokenizers.word_piece_training import learn_tokens

MOST_CHARACTERS = 100  # of a word; a longer one is unknown
# what the library's decoder takes back of the blanks between tokens
CLEANUP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class WordPieceTokenizer(Shown):
    """Words in pieces of a vocabulary, as in BERT (Wu et al. 2016; Devlin et al. 2019).

    A text is normalized and cut at white space and punctuation. Of a word the longest token that it
    begins with is taken, then the longest that the rest begins with; tokens within a word are
    written with ``##``. A word for which that fails is ``[UNK]``. White space, and with
    ``lowercase`` capitals and accents, are lost.

    Parameters
    ----------
    tokens : iterable of str
        The vocabulary by its ids, ``[UNK]`` in it; the empty string where an id is no token's.
    lowercase : bool
        Whether letters become small.
    strip_accents : bool, optional
        Whether marks are removed; if it is not given, where letters become small.
    handle_chinese_chars : bool
        Whether each Chinese character is a word.
    max_characters : int
        Of the longest word that is not ``[UNK]``.
    special_tokens : sequence of str or AddedToken, optional
        Tokens of the vocabulary that no ordinary text has; if they are not given, those of
        ``[PAD]``, ``[UNK]``, ``[CLS]``, ``[SEP]`` and ``[MASK]`` that are there.

    Raises
    ------
    ValueError
        If a token is there twice, ``[UNK]`` or a special token is not there, or an added one is to
        be found in normalized text.

    Examples
    --------
    >>> names = ["[UNK]", "un", "una", "##able", "##ble", "to"]
    >>> tokenizer = WordPieceTokenizer(names)
    >>> tokenizer.tokenize("Unable to go")
    ['una', '##ble', 'to', '[UNK]']
    """

    def __init__(
        self,
        tokens: Iterable[str],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        handle_chinese_chars: bool = True,
        max_characters: int = MOST_CHARACTERS,
        special_tokens: Sequence[str | AddedToken] | None = None,
    ):
        self.tokens = [*tokens]
        self.normalization = Normalization(handle_chinese_chars, strip_accents, lowercase)
        self.max_characters = max_characters
        self._ids = {name: i for i, name in enumerate(self.tokens) if name}
        if len(self._ids) < len(self.tokens) - self.tokens.count(""):
            twice = next(name for i, name in enumerate(self.tokens) if self._ids.get(name, i) != i)
            raise ValueError(f"WordPieceTokenizer: the token {twice!r} is there twice.")
        if special_tokens is None:
            special_tokens = [name for name in ROLES.values() if name in self._ids]
        self.added_tokens = tuple(
            AddedToken(token, special=True) if isinstance(token, str) else token
            for token in special_tokens
        )
        for name in (UNKNOWN, *(token.content for token in self.added_tokens)):
            if name not in self._ids:
                raise ValueError(f"WordPieceTokenizer: the vocabulary has no {name!r}.")
        for token in self.added_tokens:
            if token.normalized:
                raise ValueError(
                    f"WordPieceTokenizer: the token {token.content!r} is to be found in normalized "
                    "text, which is not done here."
                )
        self.special_tokens = tuple(t.content for t in self.added_tokens if t.special)
        self._code: tuple[Any, Any] | None = None
        self._decoders: tuple[Any, Any] | None = None

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        progress: Callable[[int, int], None] | None = None,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        limit_alphabet: int = 1000,
    ) -> WordPieceTokenizer:
        """Learn a vocabulary from a text, or several: byte-pair merges within words.

        As Hugging Face's ``WordPieceTrainer``: words begin as characters, ``##`` before each but
        the first, and the most frequent pair of neighbours becomes a token; of equally frequent
        ones that with the lowest ids, so that the same text gives the same vocabulary.

        Parameters
        ----------
        text : str or iterable of str
            An iterable is gone through once, and its texts are not kept.
        vocab_size : int
            The five special tokens, the characters, those within words, and the merges. The
            vocabulary stays smaller if no pair occurs more than once any more.
        progress : function, optional
            Called with (merges done, merges in all).
        lowercase, strip_accents
            As for the tokenizer.
        limit_alphabet : int
            Only so many characters become tokens, the most frequent ones.

        Raises
        ------
        ValueError
            If ``vocab_size`` is too small for the characters, or the text has no word.
        """
        how = Normalization(strip_accents=strip_accents, lowercase=lowercase)
        spell = forms().Speller(how)
        words: Counter[str] = Counter()
        for document in documents_of(text, cls.__name__):
            to_utf8(document, cls.__name__)
            words.update(spell(document).decode().split(" "))
        del words[""]
        special = [*ROLES.values()]
        learned = learn_tokens(words, vocab_size, special, limit_alphabet, cls.__name__, progress)
        return cls([*special, *learned], lowercase, strip_accents)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return len(self.tokens)

    @property
    def unused_ids(self) -> tuple[int, ...]:
        """Ids that are no token's."""
        return tuple(i for i, name in enumerate(self.tokens) if not name)

    @property
    def special_ids(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return {name: self._ids[name] for name in self.special_tokens}

    @property
    def unknown_id(self) -> int:
        """Id of ``[UNK]``."""
        return self._ids[UNKNOWN]

    @property
    def pad_id(self) -> int | None:
        """Id of ``[PAD]``, or None if it is not a special token."""
        return self.special_ids.get(PAD)

    @property
    def cls_id(self) -> int | None:
        """Id of ``[CLS]``, or None if it is not a special token."""
        return self.special_ids.get(CLS)

    @property
    def sep_id(self) -> int | None:
        """Id of ``[SEP]``, or None if it is not a special token."""
        return self.special_ids.get(SEP)

    @property
    def mask_id(self) -> int | None:
        """Id of ``[MASK]``, or None if it is not a special token."""
        return self.special_ids.get(MASK)

    @property
    def end_of_text_id(self) -> int | None:
        """Id of ``[SEP]``, which stands between documents; None if it is not a special token."""
        return self.sep_id

    @property
    def looks_around(self) -> bool:
        """Whether a text must be encoded whole, because white space decides more than its own."""
        return any(token.looks_around for token in self.added_tokens if not token.special)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that decides the ids of a text."""
        how = self.normalization
        settings = [how.lowercase, how.strips, how.handle_chinese_chars, self.max_characters]
        added = sorted(map(dataclasses.astuple, self.added_tokens))
        content = json.dumps(["WordPiece", settings, added, self.tokens])
        return hashlib.sha256(content.encode()).hexdigest()

    def bytes_per_token(self) -> np.ndarray:
        """Return the length of each token in bytes without ``##``; special tokens have 0."""
        names = [name.removeprefix(PREFIX) for name in self.tokens]
        lengths = np.array([len(name.encode("utf-8", "surrogatepass")) for name in names], np.int64)
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
        """Turn a text into ids; nothing is put around it, see `encode_pair`.

        Parameters
        ----------
        text : str
        allowed_special : collection of str, or "all"
            Special tokens that are recognised in the text, such as ``["[MASK]"]``; by default none
            is, and ``[MASK]`` is three words.
        disallowed_special : collection of str, or "all"
            Special tokens that must not be in the text; "all" means those that are not allowed.
        errors : {"strict", "replace", "surrogatepass"}
            What to do with a lone surrogate: raise, or leave it out.

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
        to_utf8(text, who, errors)
        return encode_parts(text, found, self._encode, self._ids) if found else self._encode(text)

    def _encode(self, text: str) -> np.ndarray:
        if self._code is None:
            # an ordinary text never has the id of a special or an unused token
            added = {token.content for token in self.added_tokens}
            names = [name for name in self._ids if name not in added]
            ids = [self._ids[name] for name in names]
            arguments = names, ids, self.unknown_id, PREFIX, self.max_characters
            self._code = forms().Speller(self.normalization), forms().PieceEncoder(*arguments)
        spell, encode = self._code
        return encode(spell(text)).astype(np.int64)

    def encode_batch(self, texts: Iterable[str], **options: Any) -> list[np.ndarray]:
        """Turn texts into ids, each for itself; options are those of `encode`."""
        return [self.encode(text, **options) for text in texts]

    def encode_prompt(self, text: str) -> np.ndarray:
        """Turn a text that a model is to continue into ids: `encode`, nothing is put around it."""
        return self.encode(text)

    def encode_pair(
        self,
        first: str,
        second: str | None = None,
        max_length: int | None = None,
        truncation: str = "longest_first",
        allowed_special: Names = (),
    ) -> EncodedPair:
        """Turn one text or two into ``[CLS] first [SEP]`` or ``[CLS] first [SEP] second [SEP]``.

        Parameters
        ----------
        first, second : str
        max_length : int, optional
            Of all ids; what is too long loses tokens at the end.
        truncation : {"longest_first", "only_first", "only_second"}
            Which text loses them; "longest_first" leaves both half the room if they need more.
        allowed_special : collection of str, or "all"
            As for `encode`.

        Returns
        -------
        EncodedPair
            ``token_ids`` and ``segments``, 0 for the first text and what is around it, 1 for the
            second and its ``[SEP]``.

        Raises
        ------
        ValueError
            If ``[CLS]`` or ``[SEP]`` is no special token, or there is no room for the text.
        """
        if self.cls_id is None or self.sep_id is None:
            raise ValueError(f"WordPieceTokenizer.encode_pair: there is no {CLS} or no {SEP}.")
        a = self.encode(first, allowed_special)
        b = None if second is None else self.encode(second, allowed_special)
        return joined(a, b, self.cls_id, self.sep_id, max_length, truncation)

    def tokenize(self, text: str) -> list[str]:
        """Turn a text into the names of its tokens."""
        return [self.tokens[i] for i in self.encode(text).tolist()]

    # --- decoding -----------------------------------------------------------------------------

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text: ``##`` joins, other tokens get a blank before them, but not ``.?!,``.

        Special tokens are written out, unused ids left out.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        checked = checked_ids(ids, self.vocab_size, type(self).__name__)
        if self._decoders is None:
            first = [_cleaned(name).encode() for name in self.tokens]
            others = [_cleaned(_joining(name)).encode() for name in self.tokens]
            self._decoders = forms().PieceDecoder(first), forms().PieceDecoder(others)
        head, tail = self._decoders
        used = checked[np.array([*map(bool, self.tokens)])[checked]]
        return (head(used[:1]) + tail(used[1:])).decode()

    # --- files --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a ``tokenizer.json`` that Hugging Face's tokenizers library reads as well."""
        write_atomically(path, self.to_json().encode())

    def to_json(self) -> str:
        """Return the content of the file that `save` writes."""
        content = to_json(self.tokens, self.normalization, self.max_characters, self.added_tokens)
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> WordPieceTokenizer:
        """Read what `save` wrote; raises ValueError if the file is something else."""
        return read_tokenizer(path, {FORMAT: cls.from_dict})

    @classmethod
    def from_dict(cls, content: dict) -> WordPieceTokenizer:
        """Make a tokenizer from the JSON of `save`, or of a BERT's ``tokenizer.json``.

        Raises
        ------
        KeyError, ValueError
            If it is not a WordPiece with BERT's normalizer, pre-tokens and template.
        """
        return cls(**from_json(content))


def _joining(name: str) -> str:
    """Write a token that is not the first."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else f" {name}"


def _cleaned(text: str) -> str:
    for blank in CLEANUP:
        text = text.replace(blank, blank.strip(" "))
    return text

"""GPT-2's own tokenizer, from its files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from npgpt import hub
from npgpt.files import TOKENIZER
from npgpt.tokenizers.base import END_OF_TEXT, read_tokenizer
from npgpt.tokenizers.bpe import BPETokenizer
from npgpt.tokenizers.companions import template_of, tokens_beside, with_companions
from npgpt.tokenizers.special import AddedToken
from npgpt.tokenizers.template import WHOLE
from npgpt.tokenizers.tokenizer_json import FORMAT, Ids, Pair, Parts, from_json, from_vocabulary
from npgpt.tokenizers.unsupported import Unsupported

# the same two files have these names on the hub and in the first release
FILE_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
VOCAB_SIZE = 50257
# of the tokenizer that OpenAI released in 2019, computed from its two files
FINGERPRINT = "a73f08d16e1c1da593d1bf47b9653f8ce61214aa5f6a1728f13a86fe335c8c6f"


class GPT2Tokenizer(BPETokenizer):
    """The tokenizer of GPT-2: 50,257 tokens, exactly its ids.

    256 bytes, 50,000 merges, and ``<|endoftext|>``, 50256 (Radford et al. 2019). Made by
    `from_pretrained`; anything else than GPT-2's merges is refused. A vocabulary of the same form
    with other tokens is read by `bpe_from_files`.

    Parameters
    ----------
    merges : iterable of (int, int)
    special_tokens, ids, template
        As in `BPETokenizer`; only GPT-2's are accepted.

    Raises
    ------
    ValueError
        If the merges, special tokens or ids are not GPT-2's.
    """

    def __init__(
        self,
        merges: Iterable[Pair],
        special_tokens: Sequence[str | AddedToken] = (END_OF_TEXT,),
        ids: Ids = None,
        template: Sequence[int | None] = WHOLE,
    ):
        super().__init__(merges, special_tokens, ids, template)
        if self.fingerprint != FINGERPRINT:
            raise ValueError(
                f"GPT2Tokenizer: these {self.vocab_size:,} tokens are not GPT-2's {VOCAB_SIZE:,}; "
                "npgpt.tokenizers.load_folder reads tokenizers of the same kind."
            )

    @classmethod
    def train(cls, *args, **kwargs):
        """Refuse: this vocabulary is learned already; `BPETokenizer` learns another."""
        raise TypeError("GPT2Tokenizer is already trained; BPETokenizer.train makes a new one.")

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path = "gpt2", revision: str | None = None
    ) -> GPT2Tokenizer:
        """Read GPT-2's vocabulary from a local folder, or from the Hugging Face hub.

        Parameters
        ----------
        name_or_folder : str or path
            A folder with ``vocab.json`` and ``merges.txt``, or ``encoder.json`` and ``vocab.bpe``,
            or ``tokenizer.json``; or a name on the hub, of which those files alone are downloaded.
        revision : str, optional
            Of the hub's repository.

        Raises
        ------
        FileNotFoundError
            If the files are not there.
        ValueError
            If one is damaged, or they hold another vocabulary.
        OSError, RuntimeError
            If the download fails, or huggingface_hub is not installed.
        """
        folder = hub.fetch(name_or_folder, revision, hub.TOKENIZER_FILES)
        bpe = bpe_of_folder(folder)
        return cls(bpe.merges, bpe.added_tokens, bpe._ids, bpe.template)


def as_gpt2(tokenizer: BPETokenizer) -> BPETokenizer:
    """Return a `GPT2Tokenizer` if the vocabulary is GPT-2's, else the tokenizer itself."""
    if tokenizer.vocab_size == VOCAB_SIZE and tokenizer.fingerprint == FINGERPRINT:
        return GPT2Tokenizer(tokenizer.merges)
    return tokenizer


def bpe_from_files(vocab: str | Path, merges: str | Path) -> BPETokenizer:
    """Read a vocabulary in the two files of GPT-2's release.

    Parameters
    ----------
    vocab : path
        JSON, from printable names to ids.
    merges : path
        A merge a line, in the order of learning; a first line that begins with ``#version`` is
        skipped.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If a file is damaged, or they do not belong together.
    """
    vocab, merges = Path(vocab), Path(merges)
    parts = _from_files(vocab, merges)
    with _names(f"{vocab} and {merges.name}"):
        return parts.make(BPETokenizer)


def bpe_of_folder(folder: str | Path) -> BPETokenizer:
    """Read a byte-level BPE tokenizer from a folder of a pretrained model.

    Parameters
    ----------
    folder : path
        With ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``, or ``encoder.json`` and
        ``vocab.bpe``; and what there may be beside them, see `with_companions`.

    Raises
    ------
    FileNotFoundError
        If the files are not there.
    ValueError
        If one is damaged, or asks for what npgpt does not support.
    """
    folder = Path(folder)
    if (folder / TOKENIZER).is_file():
        parts = read_tokenizer(folder / TOKENIZER, {FORMAT: from_json})
        return _complete(parts, folder)
    for names in FILE_PAIRS:
        vocab, merges = (folder / name for name in names)
        if vocab.is_file() and merges.is_file():
            with _names(folder):
                beside = tokens_beside(folder)
            return _complete(_from_files(vocab, merges, beside), folder, slow=True)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    pairs = ", or ".join(" and ".join(names) for names in FILE_PAIRS)
    raise FileNotFoundError(f"There is no tokenizer in {folder}: neither {pairs}, nor {TOKENIZER}.")


def _complete(parts: Parts, folder: Path, slow: bool = False) -> BPETokenizer:
    """Add what the files beside a vocabulary say; `slow` if it has no ``tokenizer.json``."""
    with _names(folder):
        parts = with_companions(parts, folder)
        if slow:
            parts = parts._replace(template=template_of(folder, parts.vocabulary))
        return parts.make(BPETokenizer)


@contextlib.contextmanager
def _names(place: str | Path) -> Iterator[None]:
    """Make errors of the block name a folder, or files."""
    try:
        yield
    except Unsupported as error:
        raise ValueError(f"{place} has a tokenizer that npgpt does not support: {error}.") from None
    except KeyError as error:
        raise ValueError(f"{place}: beside its vocabulary {error} is missing.") from None
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error).removesuffix(".")
        raise ValueError(f"{place}: the parts of its tokenizer do not fit: {reason}.") from None


def _from_files(vocab: Path, merges: Path, beside: dict[str, AddedToken] | None = None) -> Parts:
    try:
        ids = json.loads(vocab.read_text(encoding="utf-8-sig"))
        if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
            raise ValueError("it is not a JSON object of tokens and ids")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{vocab} is not a whole vocabulary: {error}.") from None
    try:
        text = merges.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{merges} is not a whole list of merges: {error}.") from None
    lines = text.split("\n")
    if lines[0].startswith("#version"):
        del lines[0]
    pairs = [line.rstrip("\r") for line in lines if line]
    added = {END_OF_TEXT: AddedToken(END_OF_TEXT, special=True)} | (beside or {})
    try:
        return from_vocabulary(ids, pairs, [added[name] for name in added if name in ids])
    except ValueError as error:
        reason = str(error).removesuffix(".")
        raise ValueError(f"{vocab} and {merges.name} do not fit: {reason}.") from None

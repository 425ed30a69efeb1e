"""What pairs are, and which of them are held out."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from npgpt.data.left_out import LeftOut, is_unicode
from npgpt.data.records import Record
from npgpt.data.splits import TRAIN, VALIDATION
from npgpt.fields import check_whole


class Pair(NamedTuple):
    """A text and what it is to become.

    Attributes
    ----------
    source, target : str
    key : str
        All pairs of a key are in one part; the source if empty.
    part : str
        ``train`` or ``validation`` where that is not for the key to decide.
    """

    source: str
    target: str
    key: str = ""
    part: str = ""


class Found(NamedTuple):
    """A pair as a file has it, and where."""

    where: str
    source: str
    target: str


@dataclasses.dataclass(frozen=True)
class PairCorpus:
    """Named pairs, and what was left out of their files.

    Attributes
    ----------
    name : str
    pairs : list of Pair
    left_out : LeftOut
    built_in : bool
        Whether a target is right or wrong, so that exact match tells how good a model is.
    """

    name: str
    pairs: list[Pair]
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut, compare=False)
    built_in: bool = False

    def __repr__(self) -> str:
        return f"PairCorpus({self.name!r}, {len(self.pairs):,} pairs)"

    def __len__(self) -> int:
        return len(self.pairs)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the pairs, their order, and what decides their parts."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            for text in pair:
                content = text.encode()
                digest.update(len(content).to_bytes(8, "little"))
                digest.update(content)
        return digest.hexdigest()

    def swapped(self) -> PairCorpus:
        """Return the way back, from targets to sources; a pair stays in its part."""
        pairs = [Pair(p.target, p.source, key_of(p), p.part) for p in self.pairs]
        return dataclasses.replace(self, pairs=pairs)


@dataclasses.dataclass(frozen=True, repr=False)
class PairParts:
    """The pairs to train on, and those that are held out.

    Attributes
    ----------
    name : str
    train, held_out : list of Pair
    """

    name: str
    train: list[Pair]
    held_out: list[Pair]

    def some_held_out(self, most: int) -> list[Pair]:
        """Return an even spread of the held-out pairs, at most so many; 0 means all.

        Examples
        --------
        >>> parts = PairParts("letters", [], [Pair(letter, "") for letter in "abcdef"])
        >>> [pair.source for pair in parts.some_held_out(3)]
        ['a', 'c', 'e']
        """
        check_whole("PairParts", most=most)
        count = min(most or len(self.held_out), len(self.held_out))
        return [self.held_out[i * len(self.held_out) // count] for i in range(count)]

    def __repr__(self) -> str:
        return f"PairParts({self})"

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.train):,} pairs to train on, {len(self.held_out):,} held out"
        )


def key_of(pair: Pair) -> str:
    """Return what decides a pair's part: its own key, or the source with case and spaces levelled.

    Examples
    --------
    >>> key_of(Pair("Save  as", "Speichern unter")) == key_of(Pair("save as", "sichern als"))
    True
    """
    if pair.key:
        return pair.key
    return unicodedata.normalize("NFC", " ".join(pair.source.split())).casefold()


def is_held_out(key: str, fraction: float) -> bool:
    """Say whether the SHA-256 of a key, as a number from 0 to 1, is below a fraction."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def split_pairs(corpus: PairCorpus, validation_fraction: float = 0.1) -> PairParts:
    """Hold pairs out by the hash of their source: no source is in both parts.

    The part of a pair depends on nothing else: not on the other pairs, their order or a seed.
    Sources that differ in case and white space alone are in one part. A held-out pair is there
    once.

    Parameters
    ----------
    corpus : PairCorpus
    validation_fraction : float
        Share of the sources, above 0 and below 1.

    Raises
    ------
    ValueError
        If a part would be empty.

    Examples
    --------
    >>> parts = split_pairs(PairCorpus("words", [Pair(w, w.upper()) for w in "abcdefghij"]), 0.5)
    >>> print(parts)
    words: 4 pairs to train on, 6 held out
    """
    if not 0.0 < validation_fraction < 1.0:
        raise ValueError(
            f"validation_fraction must be above 0 and below 1, got {validation_fraction}."
        )
    parts: dict[str, list[Pair]] = {TRAIN: [], VALIDATION: []}
    for pair in corpus.pairs:
        by_hash = VALIDATION if is_held_out(key_of(pair), validation_fraction) else TRAIN
        parts[pair.part or by_hash].append(pair)
    for part, without in ((TRAIN, "is left to train on"), (VALIDATION, "is held out")):
        if not parts[part]:
            raise ValueError(
                f"{corpus.name}: of {len(corpus):,} pairs none {without} with a "
                f"validation_fraction of {validation_fraction}; choose another, or give more pairs."
            )
    return PairParts(corpus.name, parts[TRAIN], [*dict.fromkeys(parts[VALIDATION])])


def checked_pairs(found: Iterable[Found], left_out: LeftOut) -> list[Pair]:
    """Take the pairs of a file, each once.

    Raises
    ------
    ValueError
        If a side is empty; with the line.
    """
    pairs: dict[Pair, None] = {}
    for where, source, target in found:
        pair = Pair(source.strip(), target.strip())
        for side, text in (("source", pair.source), ("target", pair.target)):
            if not text:
                raise ValueError(f"{where}: the {side} is empty.")
        if not (is_unicode(source) and is_unicode(target)):
            left_out.add(Record(where, {}), "a side holds half of a surrogate pair")
        elif pair in pairs:
            left_out.add(Record(where, {}), "the same pair stands before")
        else:
            pairs[pair] = None
    return [*pairs]

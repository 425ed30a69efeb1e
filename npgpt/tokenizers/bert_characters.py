"""What BERT's tokenizer does with each character: removed, white space, spaced out, spelled anew.

Devlin et al. 2019 (arXiv 1810.04805), released code, as the tokenizers library does it.
"""

from __future__ import annotations

import bisect
import dataclasses
import unicodedata

# The one table of where Unicode versions differ. The library's tables of categories are of
# Unicode 8, those of decompositions of Unicode 9, those of lower case of Unicode 17; `unicodedata`
# is of the version that came with Python. What is in here makes ids the same for every Python.
# NEWER: to the library neither control nor mark nor punctuation, and without a decomposition.
NEWER = (
    "5C8-5C9 61D 7FD 890-8E2 9FD-9FE A76 AFA-AFF B53-B55 C04-C3C C77 C84 CF3-D00 D3B-D3C D81 EBA "
    "ECE 1715 180F-1886 1ABF-1AF0 1B4E-1B4F 1B7D-1B7F 1DF6-1DFB 2E43-2E63 A82C A8C5 A8FF A9BD "
    "105C9-105E4 10D24-10F89 11070-11074 110C2-110CD 111CF 1123E-11241 1133B 11383-1145E "
    "11660-1166C 116B9 1182F-11FFF 12FF1-1612F 16D68-16F4F 16FE2-16FF1 1CF00-1D128 1D250-1D281 "
    "1E000-1E6F5 1E944-1E95F"
)
MARKS = (0x1734, 0x1171E)  # of a category that changed
PUNCTUATION = (0x166D, 0x111C9)
# Unicode 9: no marks to the library, but put in order: combining class 230, where no other is said
ORDERED_NEWER = (
    "8D4-8E1 1DFB 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E944-1E949"
)
CLASSES = {0x11442: 9, 0x11446: 7, 0x11C3F: 9, 0x1E94A: 7}
# capitals of Unicode 14 to 17, and how far away their small letters are
LOWER = {
    "1C89": 1, "2C2F": 48, "A7C0": 1, "A7CB": -42343, "A7CC": 1, "A7CE": 1, "A7D0": 1, "A7D2": 1,
    "A7D4": 1, "A7D6": 1, "A7D8": 1, "A7DA": 1, "A7DC": -42561, "10570-1057A": 39,
    "1057C-1058A": 39, "1058C-10592": 39, "10594-10595": 39, "10D50-10D65": 32, "16EA0-16EB8": 27,
}  # fmt: skip

CHINESE = "3400-4DBF 4E00-9FFF F900-FAFF 20000-2A6DF 2A700-2B81F 2B920-2CEAF 2F800-2FA1F"
WHITE_SPACE = "9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000"  # Unicode's property
NOT_CONTROL = "\t\n\r"


def ranges_of(text: str) -> list[tuple[int, int]]:
    """Read ranges of code points, such as "41-5A 61", both ends among them."""
    ends = (part.split("-") for part in text.split())
    return [(int(each[0], 16), int(each[-1], 16)) for each in ends]


class CodePoints:
    """A set of code points, made from ranges."""

    def __init__(self, text: str):
        self.ranges = ranges_of(text)
        self._firsts = [first for first, _ in self.ranges]

    def __contains__(self, point: int) -> bool:
        place = bisect.bisect_right(self._firsts, point) - 1
        return place >= 0 and point <= self.ranges[place][1]


NEWER_POINTS, CHINESE_POINTS = CodePoints(NEWER), CodePoints(CHINESE)
ORDERED_POINTS, WHITE_POINTS = CodePoints(ORDERED_NEWER), CodePoints(WHITE_SPACE)
LOWER_POINTS = {
    point: chr(point + distance)
    for text, distance in LOWER.items()
    for first, last in ranges_of(text)
    for point in range(first, last + 1)
}


@dataclasses.dataclass(frozen=True)
class Normalization:
    """What is done to a text before its words are looked at, in this order.

    First of all, control characters are removed, and all white space becomes blanks.

    Attributes
    ----------
    handle_chinese_chars : bool
        Make each Chinese character a word.
    strip_accents : bool or None
        Decompose (NFD) and remove the marks; None: where letters become small.
    lowercase : bool
        Make letters small, each for itself.
    """

    handle_chinese_chars: bool = True
    strip_accents: bool | None = None
    lowercase: bool = True

    @property
    def strips(self) -> bool:
        """Whether marks are removed."""
        return self.lowercase if self.strip_accents is None else self.strip_accents


def is_removed(c: str) -> bool:
    """Say whether cleaning removes a character: controls, private use, surrogates, U+FFFD."""
    if c in "\0\ufffd":
        return True
    control = unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs")
    return control and c not in NOT_CONTROL and ord(c) not in NEWER_POINTS


def is_white(c: str) -> bool:
    """Say whether a character separates words."""
    return ord(c) in WHITE_POINTS


def is_chinese(c: str) -> bool:
    """Say whether a character is of the blocks of Chinese ones."""
    return ord(c) in CHINESE_POINTS


def is_mark(c: str) -> bool:
    """Say whether a character is a mark on another, that takes no room of its own."""
    point = ord(c)
    if point in MARKS or point in PUNCTUATION:
        return point in MARKS
    return unicodedata.category(c) == "Mn" and point not in NEWER_POINTS


def is_punctuation(c: str) -> bool:
    """Say whether a character is a word by itself: ASCII's symbols, and Unicode's punctuation."""
    point = ord(c)
    if point < 0x80:
        return c.isprintable() and not c.isalnum() and c != " "
    if point in PUNCTUATION:
        return True
    return unicodedata.category(c).startswith("P") and point not in NEWER_POINTS


def lowered(c: str) -> str:
    """Return the small letter, or letters, of a character."""
    return LOWER_POINTS.get(ord(c)) or c.lower()


def decomposed(c: str) -> str:
    """Return what a character is made of (NFD)."""
    return c if ord(c) in NEWER_POINTS else unicodedata.normalize("NFD", c)


def combining_class(c: str) -> int:
    """Return the number that marks are put in order by; 0 for what is none."""
    point = ord(c)
    if point in CLASSES:
        return CLASSES[point]
    if point in NEWER_POINTS:
        return 230 if point in ORDERED_POINTS else 0
    return unicodedata.combining(c)

"""Numbers in words of three languages, and in digits."""

# ruff: noqa: SIM905 (words are easier to read in one text)

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npgpt.data.pairs.corpus import Pair
from npgpt.data.splits import TRAIN

MOST_DIGITS = 6
OF_EACH = 20_000  # numbers that are drawn of each count of digits
ALWAYS_LEARNED = 100  # the numbers below it are the words that all others are made of

ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
GERMAN = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
    "fünfzehn sechzehn siebzehn achtzehn neunzehn"
).split()
GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
FRENCH = (
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize "
    "dix-sept dix-huit dix-neuf"
).split()
FRENCH_TENS = "vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt".split()


def in_english(n: int) -> str:
    """Write a number below a million in American English: hyphens below hundred, no "and".

    Examples
    --------
    >>> in_english(21), in_english(345_607)
    ('twenty-one', 'three hundred forty-five thousand six hundred seven')
    """
    thousands, rest = divmod(n, 1000)
    words = [_english_hundreds(thousands), "thousand"] if thousands else []
    return " ".join([*words, _english_hundreds(rest)] if rest or not n else words)


def _english_hundreds(n: int) -> str:
    hundreds, rest = divmod(n, 100)
    words = [ENGLISH[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        words.append(ENGLISH_TENS[tens - 2] + (f"-{ENGLISH[ones]}" if ones else ""))
    elif rest or not n:
        words.append(ENGLISH[rest])
    return " ".join(words)


def in_german(n: int) -> str:
    """Write a number below a million in German: one word, ``ein`` before hundert and tausend, ß.

    Examples
    --------
    >>> in_german(21), in_german(1_101)
    ('einundzwanzig', 'eintausendeinhunderteins')
    """
    thousands, rest = divmod(n, 1000)
    word = _german_hundreds(thousands)
    if word.endswith("eins"):  # which it is at the end of a number alone
        word = word.removesuffix("s")
    word = f"{word}tausend" if thousands else ""
    return word + _german_hundreds(rest) if rest or not n else word


def _german_hundreds(n: int) -> str:
    hundreds, rest = divmod(n, 100)
    word = f"{_german_one(hundreds)}hundert" if hundreds else ""
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        return f"{word}{f'{_german_one(ones)}und' if ones else ''}{GERMAN_TENS[tens - 2]}"
    return word + GERMAN[rest] if rest or not n else word


def _german_one(n: int) -> str:
    return "ein" if n == 1 else GERMAN[n]


def in_french(n: int) -> str:
    """Write a number below a million in the French of France, in the spelling of before 1990.

    Hyphens below hundred, but for ``et``; ``cents`` and ``quatre-vingts`` have their s at the end
    of a number alone, not before ``mille``; no ``un`` before ``cent`` and ``mille``.

    Examples
    --------
    >>> in_french(91), in_french(71), in_french(200), in_french(80_201)
    ('quatre-vingt-onze', 'soixante et onze', 'deux cents', 'quatre-vingt mille deux cent un')
    """
    thousands, rest = divmod(n, 1000)
    words = [_french_hundreds(thousands, last=False)] if thousands > 1 else []
    words += ["mille"] if thousands else []
    return " ".join([*words, _french_hundreds(rest, last=True)] if rest or not n else words)


def _french_hundreds(n: int, last: bool) -> str:
    hundreds, rest = divmod(n, 100)
    words = [FRENCH[hundreds]] if hundreds > 1 else []
    if hundreds:
        words.append("cents" if hundreds > 1 and not rest and last else "cent")
    if rest or not n:
        words.append(_french_tens(rest, last))
    return " ".join(words)


def _french_tens(n: int, last: bool) -> str:
    if n < 20:
        return FRENCH[n]
    if n == 80:
        return "quatre-vingts" if last else "quatre-vingt"
    tens, ones = divmod(n, 10)
    if tens in (7, 9):  # sixty and eighty are counted on to nineteen
        ones += 10
    joined = " et " if ones in (1, 11) and tens < 8 else "-"
    return FRENCH_TENS[tens - 2] + (f"{joined}{FRENCH[ones]}" if ones else "")


LANGUAGES: dict[str, Callable[[int], str]] = {
    "en": in_english,
    "de": in_german,
    "fr": in_french,
}


def number_pairs(languages: tuple[str, ...] = tuple(LANGUAGES)) -> list[Pair]:
    """Pair numbers in words with their digits.

    20,000 are drawn of each count of digits, one to six, always alike, and a language for each.
    The key is the number, so that a held-out one is in no language in the part to train on; those
    below 100 are always in it, because other numbers are made of their words.

    Parameters
    ----------
    languages : tuple of str
        Of ``en``, ``de`` and ``fr``.
    """
    rng = np.random.default_rng(0)
    pairs = []
    for digits in range(1, MOST_DIGITS + 1):
        least = 10 ** (digits - 1) if digits > 1 else 0
        numbers = rng.integers(least, 10**digits, OF_EACH).tolist()
        places = rng.integers(0, len(languages), OF_EACH).tolist()
        for n, place in zip(numbers, places, strict=True):
            part = TRAIN if n < ALWAYS_LEARNED else ""
            pairs.append(Pair(LANGUAGES[languages[place]](n), str(n), str(n), part))
    return pairs

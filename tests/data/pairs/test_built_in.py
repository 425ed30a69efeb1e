"""Pairs that need no file: right, of one meaning, and held out in all their forms."""

import datetime
import functools
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data.pairs import read_pairs, split_pairs
from npgpt.data.pairs.dates import FIRST, LAST, MONTHS, ORDINALS, WEEKDAYS, date_forms
from npgpt.data.pairs.numbers import LANGUAGES, in_english, in_french, in_german

read = functools.cache(read_pairs)  # each is made once, of all tests here


def parse_date(text):
    """Read any of the forms by what its words are, in whatever order they stand."""
    year, day, month, weekday = None, None, None, None
    for word in re.findall(r"[\w]+(?:-(?:first|second|third|\w+th))?", text.replace("-M", " M")):
        months = [i for i, name in enumerate(MONTHS, 1) if word in (name, name[:3])]
        days = [i for i, name in enumerate(WEEKDAYS) if word in (name, name[:3])]
        if re.fullmatch(r"\d{4}", word):
            assert year is None
            year = int(word)
        elif found := re.fullmatch(r"(\d{1,2})(st|nd|rd|th)?", word):
            assert day is None
            day = int(found[1])
        elif word in ORDINALS:
            assert day is None
            day = ORDINALS.index(word) + 1
        elif months:
            assert month is None
            (month,) = months
        elif days:
            (weekday,) = days
        else:
            assert word in ("the", "of")
    return datetime.date(year, month, day), weekday


@given(st.dates(FIRST, LAST))
def test_each_form_of_a_day_is_that_day(day):
    forms = date_forms(day)
    assert len(forms) == 12
    for form in forms:
        # a hyphen joins day, month and year in one form, and the words of a number in another
        text = re.sub(r"(?<=\d)-|-(?=\d)", " ", form)
        found, weekday = parse_date(text)
        assert found == day
        assert weekday in (None, day.weekday())
        assert not re.search(r"\d+/\d+", form)


def test_dates_have_every_day_and_every_form():
    pairs = read("dates").pairs
    days = {pair.target for pair in pairs}
    assert len(days) == (LAST - FIRST).days + 1 == 73_049
    assert all(pair.key == pair.target for pair in pairs)
    assert len({pair.source for pair in pairs}) == len(pairs)
    some = [pair for pair in pairs[::37] if "-05-" not in pair.target]  # in May forms are alike
    forms = Counter(
        date_forms(datetime.date.fromisoformat(pair.target)).index(pair.source) for pair in some
    )
    assert set(forms) == set(range(12))
    assert min(forms.values()) > 0.8 * len(some) / 12


def test_ordinals_are_those_of_english():
    assert ORDINALS[10:13] == ["eleventh", "twelfth", "thirteenth"]
    assert ORDINALS[18:] == [
        "nineteenth", "twentieth", "twenty-first", "twenty-second", "twenty-third", "twenty-fourth",
        "twenty-fifth", "twenty-sixth", "twenty-seventh", "twenty-eighth", "twenty-ninth",
        "thirtieth", "thirty-first",
    ]  # fmt: skip
    nths = [
        date_forms(datetime.date(2000, 1, day))[4].split()[0]
        for day in (1, 2, 3, 11, 12, 13, 21, 22, 23, 31)
    ]
    assert nths == ["1st", "2nd", "3rd", "11th", "12th", "13th", "21st", "22nd", "23rd", "31st"]


# written by hand
KNOWN = {
    in_english: {
        0: "zero", 7: "seven", 12: "twelve", 15: "fifteen", 18: "eighteen", 20: "twenty",
        21: "twenty-one", 40: "forty", 99: "ninety-nine", 100: "one hundred",
        101: "one hundred one", 110: "one hundred ten", 342: "three hundred forty-two",
        1_000: "one thousand", 1_001: "one thousand one", 1_100: "one thousand one hundred",
        12_012: "twelve thousand twelve", 100_000: "one hundred thousand",
        999_999: "nine hundred ninety-nine thousand nine hundred ninety-nine",
    },
    in_german: {
        0: "null", 1: "eins", 6: "sechs", 7: "sieben", 11: "elf", 12: "zwölf", 16: "sechzehn",
        17: "siebzehn", 20: "zwanzig", 21: "einundzwanzig", 27: "siebenundzwanzig", 30: "dreißig",
        31: "einunddreißig", 60: "sechzig", 66: "sechsundsechzig", 70: "siebzig",
        77: "siebenundsiebzig", 100: "einhundert", 101: "einhunderteins", 116: "einhundertsechzehn",
        121: "einhunderteinundzwanzig", 1_000: "eintausend", 1_001: "eintausendeins",
        1_100: "eintausendeinhundert", 21_000: "einundzwanzigtausend",
        101_000: "einhunderteintausend", 101_101: "einhunderteintausendeinhunderteins",
        106_000: "einhundertsechstausend", 6_000: "sechstausend", 100_000: "einhunderttausend",
        345_678: "dreihundertfünfundvierzigtausendsechshundertachtundsiebzig",
    },
    in_french: {
        0: "zéro", 1: "un", 17: "dix-sept", 20: "vingt", 21: "vingt et un", 22: "vingt-deux",
        31: "trente et un", 61: "soixante et un", 70: "soixante-dix", 71: "soixante et onze",
        72: "soixante-douze", 77: "soixante-dix-sept", 80: "quatre-vingts", 81: "quatre-vingt-un",
        88: "quatre-vingt-huit", 90: "quatre-vingt-dix", 91: "quatre-vingt-onze",
        99: "quatre-vingt-dix-neuf", 100: "cent", 101: "cent un", 180: "cent quatre-vingts",
        200: "deux cents", 201: "deux cent un", 280: "deux cent quatre-vingts", 1_000: "mille",
        1_001: "mille un", 1_100: "mille cent", 1_200: "mille deux cents", 2_000: "deux mille",
        21_000: "vingt et un mille", 80_000: "quatre-vingt mille", 71_000: "soixante et onze mille",
        100_000: "cent mille", 101_000: "cent un mille", 200_000: "deux cent mille",
        280_080: "deux cent quatre-vingt mille quatre-vingts",
        200_200: "deux cent mille deux cents",
    },
}  # fmt: skip


@pytest.mark.parametrize("write", KNOWN)
def test_numbers_that_are_known_by_hand(write):
    assert {n: write(n) for n in KNOWN[write]} == KNOWN[write]


# An inverse that shares nothing with the writers: from the left, a word adds its value, "hundred"
# and "thousand" multiply. The words stand here anew.
ENGLISH = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "zero": 0,
}  # fmt: skip
GERMAN = {
    "eins": 1, "ein": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "sieben": 7,
    "acht": 8, "neun": 9, "zehn": 10, "elf": 11, "zwölf": 12, "dreizehn": 13, "vierzehn": 14,
    "fünfzehn": 15, "sechzehn": 16, "siebzehn": 17, "achtzehn": 18, "neunzehn": 19, "zwanzig": 20,
    "dreißig": 30, "vierzig": 40, "fünfzig": 50, "sechzig": 60, "siebzig": 70, "achtzig": 80,
    "neunzig": 90, "null": 0,
}  # fmt: skip
FRENCH = {
    "un": 1, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "six": 6, "sept": 7, "huit": 8,
    "neuf": 9, "dix": 10, "onze": 11, "douze": 12, "treize": 13, "quatorze": 14, "quinze": 15,
    "seize": 16, "vingt": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60,
    "zéro": 0,
}  # fmt: skip


def summed(words, values, hundred, thousand):
    total, part = 0, 0
    for word in words:
        if word in hundred:
            part = max(part, 1) * 100
        elif word in thousand:
            total, part = max(part, 1) * 1000, 0
        else:
            part += values[word]
    return total + part


GERMAN_WORD = re.compile(
    "|".join(sorted([*GERMAN, "und", "hundert", "tausend"], key=len, reverse=True))
)


def read_german(text):
    words = GERMAN_WORD.findall(text)
    assert "".join(words) == text
    return summed([w for w in words if w != "und"], GERMAN, ["hundert"], ["tausend"])


def read_french(text):
    # four times twenty is the one product among its words
    text = re.sub(r"quatre-vingts?", "eighty", text)
    words = [w for w in re.split("[ -]", text) if w != "et"]
    return summed(words, {**FRENCH, "eighty": 80}, ["cent", "cents"], ["mille"])


def read_english(text):
    return summed(re.split("[ -]", text), ENGLISH, ["hundred"], ["thousand"])


READERS = {"en": read_english, "de": read_german, "fr": read_french}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_is_read_back_by_an_inverse_of_its_own(language):
    write, inverse = LANGUAGES[language], READERS[language]
    beyond = np.random.default_rng(1).integers(10_000, 10**6, 3000).tolist()
    ends = [n * 1000 + m for n in range(1, 1000) for m in (0, 1, 80, 200)]
    for n in (*range(10_000), *beyond, *ends):
        assert inverse(write(n)) == n, write(n)


def test_a_written_number_is_one_number_in_all_languages():
    words = {}
    for n in (*range(3000), *range(0, 10**6, 997)):
        for write in LANGUAGES.values():
            assert words.setdefault(write(n), n) == n


@pytest.mark.parametrize("name", ["numbers", "numbers:de"])
def test_numbers_have_every_count_of_digits_equally_often_and_small_ones_are_learned(name):
    corpus = read(name)
    counts = Counter(len(pair.target) for pair in corpus.pairs)
    assert counts == dict.fromkeys(range(1, 7), 20_000)
    parts = split_pairs(corpus)
    assert {len(p.target) for p in parts.held_out} == {3, 4, 5, 6}
    assert {str(n) for n in range(100)} <= {p.target for p in parts.train}
    assert len({*parts.held_out}) == len(parts.held_out)
    languages = {"numbers": 3}.get(name, 1)
    assert len({p.source for p in corpus.pairs if p.target == "4"}) == languages


def test_reversed_strings_are_learned_to_25_letters_and_asked_to_35():
    parts = split_pairs(read("reverse"))
    assert all(pair.source[::-1] == pair.target for pair in parts.train + parts.held_out)
    assert {len(pair.source) for pair in parts.train} == set(range(1, 26))
    assert {*range(5, 36)} <= {len(pair.source) for pair in parts.held_out}


@pytest.mark.parametrize("name", ["dates", "numbers", "reverse"])
def test_nothing_that_is_held_out_is_learned_in_any_form(name):
    parts = split_pairs(read(name))
    assert not {p.target for p in parts.train} & {p.target for p in parts.held_out}
    assert not {p.source for p in parts.train} & {p.source for p in parts.held_out}


def test_a_task_is_the_same_each_time():
    assert read_pairs("reverse").fingerprint == read("reverse").fingerprint
    assert read("reverse").fingerprint != read("dates").fingerprint

"""Dates, as they are written in English, and in ISO 8601."""

# ruff: noqa: SIM905 (words are easier to read in one text)

from __future__ import annotations

import datetime

import numpy as np

from npgpt.data.pairs.corpus import Pair

FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
FORMS_A_DAY = 3  # that are drawn of the twelve
# each names one day: no 03/04, and no year of two digits
FORMS = (
    "{day} {month} {year}",
    "{month} {day}, {year}",
    "{day} {mon} {year}",
    "{mon} {day}, {year}",
    "{nth} {month} {year}",
    "{month} {nth}, {year}",
    "the {nth} of {month}, {year}",
    "the {ordinal} of {month} {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday}, {month} {day}, {year}",
    "{wday} {day} {mon} {year}",
    "{day:02}-{mon}-{year}",
)
# not of `calendar`, whose names are those of the locale
MONTHS = (
    "January February March April May June July August September October November December"
).split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
ORDINALS += [f"twenty-{ordinal}" for ordinal in ORDINALS[:9]] + ["thirtieth", "thirty-first"]


def date_forms(day: datetime.date) -> list[str]:
    """Write a day in all twelve forms.

    Examples
    --------
    >>> for form in date_forms(datetime.date(1987, 3, 14)):
    ...     print(form)
    14 March 1987
    March 14, 1987
    14 Mar 1987
    Mar 14, 1987
    14th March 1987
    March 14th, 1987
    the 14th of March, 1987
    the fourteenth of March 1987
    Saturday, 14 March 1987
    Saturday, March 14, 1987
    Sat 14 Mar 1987
    14-Mar-1987
    """
    fields = _fields(day)
    return [form.format_map(fields) for form in FORMS]


def date_pairs() -> list[Pair]:
    """Pair each day from 1900 to 2099, in three of the twelve forms, with its ISO form.

    Which three is drawn, always alike. The key is the day, so that a held-out one is in no form in
    the part to train on.
    """
    count = (LAST - FIRST).days + 1
    order = np.random.default_rng(0).random((count, len(FORMS))).argsort(axis=1)
    pairs = []
    for i, drawn in enumerate(order[:, :FORMS_A_DAY].tolist()):
        day = FIRST + datetime.timedelta(i)
        fields, iso = _fields(day), day.isoformat()
        written = [FORMS[form].format_map(fields) for form in drawn]
        # in May two forms are the same: its name is as short as can be
        pairs += [Pair(text, iso, iso) for text in dict.fromkeys(written)]
    return pairs


def _fields(day: datetime.date) -> dict[str, str | int]:
    month, weekday = MONTHS[day.month - 1], WEEKDAYS[day.weekday()]
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return {
        "day": day.day,
        "month": month,
        "mon": month[:3],
        "year": day.year,
        "weekday": weekday,
        "wday": weekday[:3],
        "nth": f"{day.day}{'th' if 11 <= day.day <= 13 else ending}",
        "ordinal": ORDINALS[day.day - 1],
    }

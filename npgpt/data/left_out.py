"""Records that nothing can be learned from: left out, and counted by reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from npgpt.data.records import Record, text_field

NO_UNICODE = "holds half of a surrogate pair, which is no character"
logger = logging.getLogger(__name__)


class LeftOut:
    """What was left out of a file's records, and why.

    Parameters
    ----------
    strict : bool
        Refuse such a record, and the file with it.

    Examples
    --------
    >>> left_out = LeftOut()
    >>> left_out.add(Record("a.jsonl, line 3", {}), "'output' is empty")
    >>> left_out.sentences()
    ["1 record is left out because 'output' is empty: a.jsonl, line 3."]
    """

    def __init__(self, strict: bool = False):
        self.strict = strict
        self.places: dict[str, dict[str, None]] = {}  # by reason, each place once, in order

    def add(self, record: Record, reason: str, error: str = "") -> None:
        """Leave a record out.

        Parameters
        ----------
        record : Record
        reason : str
            Records are counted by it.
        error : str
            What to say in its place of this record alone, in an error.

        Raises
        ------
        ValueError
            If nothing may be left out; with the row.
        """
        if self.strict:
            raise ValueError(f"{record.where}: {error or reason}.")
        self.places.setdefault(reason, {})[record.where] = None

    def __len__(self) -> int:
        return sum(map(len, self.places.values()))

    def sentences(self) -> list[str]:
        """Say for each reason how many were left out, and where the first is."""
        said = []
        for reason, places in self.places.items():
            first = next(iter(places))
            if len(places) == 1:
                said.append(f"1 record is left out because {reason}: {first}.")
            else:
                said.append(
                    f"{len(places):,} records are left out because {reason}; the first is {first}."
                )
        return said

    def tell(self) -> None:
        """Log the sentences as warnings, which Python shows unless it is told otherwise."""
        for sentence in self.sentences():
            logger.warning(sentence)

    def refuse_nothing_left(self, source: str, records: Sequence[object]) -> None:
        """Raise ValueError, with the reasons, if no record is left of a file."""
        if not records:
            raise ValueError(f"{source}: no record is left. {' '.join(self.sentences())}".rstrip())


def with_texts(records: Iterable[Record], names: Sequence[str], left_out: LeftOut) -> list[Record]:
    """Return the records in which every named field is a text with something in it.

    Those with a field that is None, empty, nothing but white space, or no Unicode (half of a
    surrogate pair, which JSON can write) are left out.

    Raises
    ------
    ValueError
        If a field is there but is no text, such as a number: then the file is not what it should
        be; with the row.
    """
    kept = []
    for record in records:
        reason = _reason(record, names)
        if reason:
            left_out.add(record, reason)
        else:
            kept.append(record)
    return kept


def _reason(record: Record, names: Sequence[str]) -> str:
    """Say why nothing can be learned from a record, or nothing."""
    for name in names:
        text = text_field(record, name, optional=True)  # raises if it is neither text nor None
        if not text.strip():
            return f"{name!r} is empty"
        if not is_unicode(text):
            return f"{name!r} {NO_UNICODE}"
    return ""


def is_unicode(text: str) -> bool:
    """Say whether a text can be written in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

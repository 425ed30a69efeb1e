"""Tables for a terminal: what ``print`` of a report shows."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()
) -> str:
    """Lay out rows in columns, two blanks apart.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequences of str
        One cell a column.
    numbers : sequence of int
        Columns that are aligned to the right.

    Examples
    --------
    >>> print(text_table(["token", "nats"], [["the", "1.5"], ["a", "10.2"]], numbers=[1]))
    token  nats
    the     1.5
    a      10.2
    """
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )

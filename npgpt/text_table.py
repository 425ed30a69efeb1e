"""Tables for a terminal: what ``print`` of a report shows."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int] = (),
    footer: Sequence[str] | None = None,
) -> str:
    """Lay out rows in columns, two blanks apart.

    Parameters
    ----------
    header : sequence of str
        Empty for a table without one.
    rows : sequence of sequences of str
        One cell a column.
    numbers : sequence of int
        Columns that are aligned to the right.
    footer : sequence of str, optional
        The last row, such as totals; it and the header are ruled off.

    Examples
    --------
    >>> print(text_table(["token", "nats"], [["the", "1.5"], ["a", "10.2"]], numbers=[1]))
    token  nats
    the     1.5
    a      10.2
    """
    table = [*filter(None, [header]), *rows, *filter(None, [footer])]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    if footer is not None:
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    return "\n".join(lines)

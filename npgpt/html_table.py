"""Tables for notebooks: what ``_repr_html_`` returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

CELL = "padding:.15em .7em;text-align:"


def html_table(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    footer: Sequence[object] | None = None,
    numbers: Sequence[int] = (),
) -> str:
    """Make an HTML table that needs no style sheet; every text is escaped.

    Parameters
    ----------
    title : str
    header : sequence of str
    rows : iterable of sequences
        One cell a column; anything else than a str is turned into one.
    footer : sequence, optional
        The last row, such as totals.
    numbers : sequence of int
        Columns that are aligned to the right.

    Examples
    --------
    >>> html = html_table("Loss", ["token", "nats"], [["<b>", 1.5]], numbers=[1])
    >>> "&lt;b&gt;" in html
    True
    """
    sides = ["right" if column in numbers else "left" for column in range(len(header))]
    body = "".join(_row("td", row, sides) for row in rows)
    foot = f"<tfoot>{_row('th', footer, sides)}</tfoot>" if footer is not None else ""
    return (
        f'<table><caption style="text-align:left;font-weight:bold">{escape(title)}</caption>'
        f"<thead>{_row('th', header, sides)}</thead><tbody>{body}</tbody>{foot}</table>"
    )


def html_list(sentences: Sequence[str]) -> str:
    """Make an HTML list of texts, which are escaped; nothing of none."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _row(tag: str, cells: Sequence[object], sides: Sequence[str]) -> str:
    columns = (
        f'<{tag} style="{CELL}{side}">{escape(str(cell))}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(columns)}</tr>"

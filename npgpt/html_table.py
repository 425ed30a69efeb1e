"""Tables for notebooks: what ``_repr_html_`` returns."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

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


def tinted(texts: Sequence[str], values: np.ndarray) -> str:
    """Write texts one after another, escaped, each on its value's colour of `heat_map`."""
    spans = (
        f'<span title="{value:+.4g}" style="background:rgb({r},{g},{b});color:#000;'
        f'padding:.1em .15em;white-space:pre-wrap">{escape(text)}</span>'
        for text, value, (r, g, b) in zip(texts, values, _colours(np.asarray(values)), strict=True)
    )
    return f'<p style="line-height:1.8">{"".join(spans)}</p>'


def heat_map(title: str, array: np.ndarray, most: int = 256) -> str:
    """Draw the last two axes of an array as a picture: red above 0, blue below, grey not finite.

    Parameters
    ----------
    title : str
    array : ndarray
        Of other axes the first entry is shown, which the caption says.
    most : int
        Largest side that is shown.
    """
    shown = np.atleast_2d(array)
    first = (0,) * (shown.ndim - 2)
    caption = f"{title}{list(first) if first else ''}, {array.shape}, {array.dtype}"
    if shown.size == 0:
        return f"<p>{escape(caption)}</p>"
    cells = np.real(shown[first])[:most, :most]
    rows, columns = cells.shape
    if cells.shape != shown.shape[-2:]:
        caption += f", the first {rows} x {columns}"
    largest = np.max(np.abs(cells[np.isfinite(cells)]), initial=0.0)
    caption += f", largest magnitude {largest:.3g}"
    pixels = _colours(cells.ravel()).reshape(rows, columns, 3)
    size = max(1, min(16, 480 // max(rows, columns)))
    return (
        f'<figure style="margin:0"><figcaption>{escape(caption)}</figcaption>'
        f'<img alt="{escape(caption)}" width="{columns * size}" height="{rows * size}" '
        f'style="image-rendering:pixelated;border:1px solid #888" '
        f'src="data:image/png;base64,{base64.b64encode(_png(pixels)).decode()}"></figure>'
    )


def _colours(values: np.ndarray) -> np.ndarray:
    """Map numbers, (n,), to red, green and blue, (n, 3): white at 0, red above, blue below."""
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    largest = np.max(np.abs(values[finite]), initial=0.0) or 1.0
    share = np.where(finite, values, 0.0) / largest
    other = 1.0 - 0.6 * np.abs(share)
    red = np.stack([np.ones_like(share), other, other], axis=-1)
    colours = np.where(share[:, None] > 0, red, red[:, ::-1])
    colours[~finite] = 0.75
    return np.round(255 * colours).astype(np.uint8)


def _png(pixels: np.ndarray) -> bytes:
    """Write an image, (rows, columns, 3) of uint8, in PNG's format (ISO/IEC 15948)."""
    rows, columns, _ = pixels.shape
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0))
    image = chunk(b"IDAT", zlib.compress(lines.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + header + image + chunk(b"IEND", b"")

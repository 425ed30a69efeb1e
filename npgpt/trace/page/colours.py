"""The colours of heat maps and strips: blue below 0, orange above, which all eyes tell apart."""

from __future__ import annotations

import numpy as np

STOPS = ((6, 63, 124), (74, 144, 201), (246, 246, 246), (232, 136, 58), (140, 45, 4))
LEVELS = 127  # on either side of 0
BLACK_IS_READ_BETTER = 0.179  # from this luminance on; below it, white has the higher contrast
MASKED = 0  # index in the palette of cells without a value; 1 to 255 are -LEVELS to LEVELS


def _colour_map() -> np.ndarray:
    places = np.linspace(-1.0, 1.0, 2 * LEVELS + 1)
    stops = np.linspace(-1.0, 1.0, len(STOPS))
    channels = [np.interp(places, stops, channel) for channel in zip(*STOPS, strict=True)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


COLOUR_MAP = _colour_map()  # (2 * LEVELS + 1, 3)


def levels(values: np.ndarray, scale: float) -> np.ndarray:
    """Turn values into indices of the palette.

    Parameters
    ----------
    values : ndarray
    scale : float
        Magnitude of the strongest colour; 0 if all values are.

    Returns
    -------
    ndarray of uint8
    """
    finite = np.isfinite(values)
    shares = np.where(finite, values, 0.0) / (scale or 1.0)
    index = 1 + LEVELS + np.rint(LEVELS * np.clip(shares, -1.0, 1.0))
    return np.where(finite, index, MASKED).astype(np.uint8)


def style(value: float | None, scale: float) -> str:
    """Return the CSS of a cell: its colour, and black or white for what is written on it."""
    if value is None or not np.isfinite(value):
        return ""
    colour = COLOUR_MAP[int(levels(np.asarray(value), scale)) - 1]
    ink = "#000" if _luminance(colour) > BLACK_IS_READ_BETTER else "#fff"
    return f"background:#{bytes(colour).hex()};color:{ink}"


def _luminance(colour: np.ndarray) -> float:
    """Return the relative luminance of an sRGB colour, 0 to 1 (WCAG 2)."""
    parts = colour / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def largest(values) -> float:
    """Return the largest magnitude of the finite values; 0 if there is none."""
    magnitudes = [abs(value) for value in values if value is not None and np.isfinite(value)]
    return float(max(magnitudes, default=0.0))


def gradient() -> str:
    """Return the CSS of the legend's bar."""
    return "linear-gradient(to right," + ",".join(f"rgb{stop}" for stop in STOPS) + ")"


def palette_text() -> str:
    """Return the colours of levels -LEVELS to LEVELS as hexadecimal digits, for the page."""
    return COLOUR_MAP.tobytes().hex()

"""Heat maps as images inside the page.

A map has up to 64 x 96 cells, and a page has hundreds of maps. An SVG takes an element of some 50
bytes a cell; a PNG with a palette takes one byte at most.
"""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np

from npgpt.trace.array_views import HeatMap
from npgpt.trace.page.colours import COLOUR_MAP, MASKED, levels

PALETTE = np.concatenate([np.zeros((1, 3), np.uint8), COLOUR_MAP])  # first the masked
WIDTH = 288  # pixels that a map fills if its cells are neither too large nor too small then
LARGEST_CELL, SMALLEST_CELL = 16, 2
LABELLED_CELL = 9  # and larger ones have room for a token beside them
ROW_HEIGHT = 12  # of a map that is a single row


@dataclasses.dataclass(frozen=True)
class HeatImage:
    """An image and what a reader needs to make sense of it."""

    data: str
    cell: int
    width: int
    height: int
    rows: int
    columns: int
    shape: tuple[int, int]
    scale: float
    is_smaller: bool

    @property
    def has_room(self) -> bool:
        """Whether a token can be written beside each row and column."""
        return self.cell >= LABELLED_CELL and not self.is_smaller


def heat_image(heat_map: HeatMap, width: int = WIDTH) -> HeatImage:
    """Draw a heat map of about this width."""
    from PIL import Image

    rows, columns = heat_map.cells.shape
    # only the colours that occur: whole, the palette would be larger than most images
    used, indices = np.unique(levels(heat_map.cells, heat_map.scale), return_inverse=True)
    image = Image.fromarray(indices.reshape(rows, columns).astype(np.uint8), "P")
    image.putpalette(PALETTE[used].tobytes())
    transparency = {"transparency": 0} if used[0] == MASKED else {}
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, **transparency)
    cell = min(LARGEST_CELL, max(SMALLEST_CELL, width // columns))
    return HeatImage(
        "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(),
        cell,
        cell * columns,
        max(cell * rows, ROW_HEIGHT),
        rows,
        columns,
        heat_map.shape,
        heat_map.scale,
        heat_map.is_smaller,
    )

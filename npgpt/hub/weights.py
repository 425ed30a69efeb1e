"""How an array of ours is made of the arrays of a file."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]  # of the arrays of a file, by their names there


class WeightSource(Protocol):
    """The arrays of a model, read when asked for: what every container is."""

    @property
    def shapes(self) -> Shapes:
        """Each array's shape."""

    def read_into(self, name: str, destination: np.ndarray) -> None:
        """Copy an array into one of the same shape, converted on the way; it may be a view."""


class Layout(enum.Enum):
    """The axes of a matrix in a file; ours are (out, in). A vector is one, or a row of a matrix."""

    AS_OURS = "out in"
    TRANSPOSED = "in out"
    CONVOLUTION = "1 in out"  # of width 1
    ROW = "1 out"  # a vector

    def shape(self, ours: Shape) -> Shape:
        """Return the shape in the file of a matrix of this shape here."""
        turned = ours[::-1]
        shapes = {"out in": ours, "in out": turned, "1 in out": (1, *turned), "1 out": (1, *ours)}
        return shapes[self.value]

    def view(self, array: np.ndarray) -> np.ndarray:
        """Show a matrix of ours with the axes of the file; what is written to it is in ours."""
        turned = array.T
        views = {"out in": array, "in out": turned, "1 in out": turned[None], "1 out": array[None]}
        return views[self.value]


class Weight(NamedTuple):
    """An array of ours, and those of a file that it is made of.

    Attributes
    ----------
    ours : str
        Its name here.
    theirs : tuple of str
        The names in the file. Several are stacked along our first axis, the rows of a matrix: what
        stands apart there as queries, keys and values, or as gate and up, is one matrix here.
    shapes : tuple of tuple of int
        Of the rows of ours that each of ``theirs`` is, whatever their layout in the file.
    layout : Layout
        Of each of ``theirs``.
    """

    ours: str
    theirs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    layout: Layout = Layout.AS_OURS

    @property
    def shape(self) -> Shape:
        """Of the array of ours."""
        return (sum(shape[0] for shape in self.shapes), *self.shapes[0][1:])

    def parts(self, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each name in the file and its rows of an array of ours, as the file lays them.

        Raises
        ------
        ValueError
            If the array has another shape.
        """
        if array.shape != self.shape:
            raise ValueError(
                f"{self.ours} has shape {array.shape}, but {' and '.join(self.theirs)} make "
                f"{self.shape}."
            )
        first = 0
        for name, (rows, *_) in zip(self.theirs, self.shapes, strict=True):
            yield name, self.layout.view(array[first : first + rows])
            first += rows

    def read(self, source: WeightSource, destination: np.ndarray) -> None:
        """Copy the arrays of a file into an array of ours."""
        for name, part in self.parts(destination):
            source.read_into(name, part)

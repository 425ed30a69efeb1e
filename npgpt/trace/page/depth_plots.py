"""Plots of how activations and gradients grow or shrink along the depth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from npgpt.trace.boxes import Box
from npgpt.trace.data import Trace

WIDTH, HEIGHT = 400, 210
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 34
MOST_TICKS = 9


@dataclasses.dataclass(frozen=True)
class Point:
    """A measured number and its place in the plot."""

    label: str
    value: float
    x: float
    y: float


@dataclasses.dataclass(frozen=True)
class Line:
    """A series of points."""

    name: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The points as SVG's polyline takes them."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot with a logarithmic vertical axis."""

    title: str
    x_label: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


Series = dict[str, list[tuple[float, str, float]]]  # name: (depth, label, value)


def depth_plots(trace: Trace) -> list[Plot]:
    """Make the plots: activations, gradients, and gradients of the weights."""
    n_layers = trace.config.n_layers
    activations, gradients = _along_the_stream(trace.boxes)
    weights = _of_weights(trace.boxes)
    depth = [(0.0, "in"), *((i + 1.0, f"block {i}") for i in range(n_layers))]
    blocks = [(float(i), f"block {i}") for i in range(n_layers)]
    after = "out of block; in: the embeddings"
    plots = [
        _plot("Activations", after, activations, depth),
        _plot("Gradients by activations", after, gradients, depth),
        _plot("Gradients by weights", "block", weights, blocks),
    ]
    return [plot for plot in plots if plot.lines]


def _along_the_stream(boxes: Sequence[Box]) -> tuple[Series, Series]:
    values: Series = {}
    grads: Series = {}
    for box in boxes:
        for instance in box.instances:
            block = -1 if instance.block is None else instance.block
            for array in instance.arrays:
                place = _place(box, array.name, block)
                if array.is_parameter or place is None:
                    continue
                series, depth = place
                label = f"{instance.name}.{array.name}".lstrip(".")
                values.setdefault(series, []).append((depth, label, array.value.statistics.rms))
                if array.grad is not None:
                    grads.setdefault(series, []).append((depth, label, array.grad.statistics.rms))
    for found in (values, grads):
        for points in found.values():
            points.sort()
    return values, grads


def _place(box: Box, array: str, block: int) -> tuple[str, float] | None:
    """Name the line that an array is on, and its depth: block ``i`` goes from i to i + 1."""
    if array == "embeddings" or (box.name == "blocks.*" and array == "residual"):
        return "residual stream", block + 1.0
    if box.name == "blocks.*" and array == "residual_middle":
        return "residual stream", block + 0.5
    child = box.name.removeprefix("blocks.*.")
    if child != box.name and "." not in child and array == "output" and "norm" not in child:
        return f"{child} output", block + (0.5 if child == "attention" else 1.0)
    return None


def _of_weights(boxes: Sequence[Box]) -> Series:
    series: Series = {}
    for box in boxes:
        for instance in box.instances:
            for array in instance.arrays:
                is_matrix = array.is_parameter and len(array.value.shape) > 1
                if instance.block is None or not is_matrix or array.grad is None:
                    continue
                name = f"{box.name.removeprefix('blocks.*.')}.{array.name}"
                point = (
                    float(instance.block),
                    f"{instance.name}.{array.name}",
                    array.grad.statistics.rms,
                )
                series.setdefault(name, []).append(point)
    return series


def _plot(title: str, x_label: str, series: Series, places: list[tuple[float, str]]) -> Plot:
    shown = {  # a logarithm needs positive numbers
        name: [point for point in points if point[2] > 0 and math.isfinite(point[2])]
        for name, points in series.items()
    }
    values = [value for points in shown.values() for _, _, value in points]
    if not values:
        return Plot(title, x_label, (), (), ())
    low, high = _limits(min(values), max(values))
    last = max(places[-1][0], 1.0)

    def x_of(depth: float) -> float:
        return LEFT + 8 + (WIDTH - LEFT - RIGHT - 16) * depth / last

    def y_of(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    lines = tuple(
        Line(name, tuple(Point(label, value, x_of(x), y_of(value)) for x, label, value in points))
        for name, points in shown.items()
        if points
    )
    every = math.ceil(len(places) / MOST_TICKS)
    x_ticks = tuple((x_of(x), label.removeprefix("block ")) for x, label in places[:: every or 1])
    y_ticks = tuple((y_of(tick), _power(tick)) for tick in _ticks(low, high))
    return Plot(title, x_label, lines, x_ticks, y_ticks)


def _limits(smallest: float, largest: float) -> tuple[float, float]:
    """Return the logarithms that the axis begins and ends with: one decade or more."""
    low, high = math.log10(smallest) - 0.15, math.log10(largest) + 0.15
    missing = max(0.0, 1.0 - (high - low)) / 2
    return low - missing, high + missing


def _ticks(low: float, high: float) -> list[float]:
    """Return powers of ten, and in a short axis their multiples by 2 and 5."""
    every = max(1, round((high - low) / 5))
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if high - low < 2.5 else (1,)
    ticks = [f * 10.0**power for power in powers if power % every == 0 for f in factors]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _power(tick: float) -> str:
    """Write 0.02 as 2·10⁻²."""
    mantissa, exponent = f"{tick:.0e}".split("e")
    digits = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if mantissa == "1" else f"{mantissa}·10{digits}"

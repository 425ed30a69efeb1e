"""Plots of how activations and gradients grow or shrink along the depth, and over time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from npgpt.layers.core.names import Place, layer_of, parent_of, place_of
from npgpt.trace.boxes import ShownArray
from npgpt.trace.data import TraceData

WIDTH, HEIGHT = 400, 210
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 34
MOST_TICKS = 9
# how far through a block an array is: what is on the residual stream, and what branches write to it
STREAM = {"embeddings": 1.0, "residual_middle": 0.5, "residual_cross": 0.75, "residual": 1.0}
BRANCHES = {"attention": 0.5, "cross_attention": 0.75}
STATES = ("hidden", "cell")  # of a recurrent layer


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


def depth_plots(trace: TraceData) -> list[Plot]:
    """Make the plots: activations, gradients, and gradients of the weights."""
    activations, gradients = _along_the_stream(trace)
    weights = _of_weights(trace)
    word = layer_word(trace)
    blocks = [(float(d), f"{word} {i}") for s in trace.stacks.values() for i, d in enumerate(s)]
    depth = [(0.0, "in"), *((place + 1.0, label) for place, label in blocks)]
    after = f"out of {word}; in: the embeddings"
    plots = [
        _plot("Activations", after, activations, depth),
        _plot("Gradients by activations", after, gradients, depth),
        _plot("Gradients by weights", word, weights, blocks),
    ]
    return [plot for plot in plots if plot.lines]


def time_plots(trace: TraceData) -> list[Plot]:
    """Make the plots of a recurrent model's states: how large they are at each position."""
    values: Series = {}
    grads: Series = {}
    for name, _, array in _arrays(trace):
        kind, layer = layer_of(array.name)
        if kind not in STATES or layer is None:
            continue
        line = f"{kind}, layer {layer}"
        for view, series in ((array.value, values), (array.grad, grads)):
            points = enumerate(view.by_row if view else ())
            series[line] = [(t, f"{name}.{array.name}, position {t}", size) for t, size in points]
    places = [(float(t), str(t)) for t in range(len(trace.predictions))]
    plots = [
        _plot("States over time", "position", values, places),
        _plot("Gradients by states, over time", "position", grads, places),
    ]
    return [plot for plot in plots if plot.lines]


def layer_word(trace: TraceData) -> str:
    """Return what the model's stacks are made of, in a word."""
    return "block" if any(stack.endswith("blocks") for stack in trace.stacks) else "layer"


def _along_the_stream(trace: TraceData) -> tuple[Series, Series]:
    values: Series = {}
    grads: Series = {}
    for name, depth, array in _arrays(trace):
        place = place_of(name)
        found = None if array.is_parameter else _line_of(place, array.kind)
        if found is None:
            continue
        line, share = f"{parent_of(place.stack)} {found[0]}".lstrip(), found[1]
        label = f"{name}.{array.name}".lstrip(".")
        values.setdefault(line, []).append((depth + share, label, array.value.statistics.rms))
        if array.grad is not None:
            grads.setdefault(line, []).append((depth + share, label, array.grad.statistics.rms))
    for series in (values, grads):
        if "hidden" in series:  # what the first layer reads, and what each makes of it
            series["hidden"] += series.pop("residual stream", [])
        for points in series.values():
            points.sort()
    return values, grads


def _arrays(trace: TraceData) -> Iterator[tuple[str, int, ShownArray]]:
    """Yield every array with the name of its box and the depth of the block, -1 in none."""
    stacks = trace.stacks
    for box in trace.boxes:
        for instance in box.instances:
            stack, depth = place_of(instance.name).stack or instance.name, instance.block
            if depth is None:
                depth = -1
            elif stack in stacks:
                depth = stacks[stack][depth]
            for array in instance.arrays:
                yield instance.name, depth, array


def _line_of(place: Place, array: str) -> tuple[str, float] | None:
    """Name the line that an array is on, and how far through its block that is."""
    if not place.rest and array in STREAM:
        return "residual stream", STREAM[array]
    is_branch = place.stack and place.rest and "." not in place.rest and "norm" not in place.rest
    if is_branch and array == "output":
        return f"{place.rest} output", BRANCHES.get(place.rest, 1.0)
    if place.is_block and array == "output":
        return f"{place.stack.removesuffix('s')} output", 1.0
    is_state = place.rest and not place.stack and array in STATES
    return (array, 1.0) if is_state else None


def _of_weights(trace: TraceData) -> Series:
    series: Series = {}
    for name, depth, array in _arrays(trace):
        is_matrix = array.is_parameter and len(array.value.shape) > 1
        if depth < 0 or not is_matrix or array.grad is None:
            continue
        stack, _, rest = place_of(name)
        line = ".".join(filter(None, (parent_of(stack), rest, array.kind)))
        point = (float(depth), f"{name}.{array.name}", array.grad.statistics.rms)
        series.setdefault(line, []).append(point)
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
    x_ticks = tuple((x_of(x), label.rpartition(" ")[2]) for x, label in places[:: every or 1])
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

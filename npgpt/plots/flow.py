"""Gradient flow as pictures: along the depth of a model, and along the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npgpt.gradients.flow import Flow
from npgpt.layers.core.names import layer_of, place_of, stacks_of
from npgpt.plots.style import BLUE, GREEN, GREY, ORANGE, RED, draw_grid, new_figure, save

BRANCHES = {
    "attention": ORANGE, "cross_attention": RED, "feed_forward": GREEN, "conv": GREEN,
    "network": BLUE,
}  # fmt: skip
STREAMS = ("residual", "hidden")  # what a block, or a recurrent layer, hands on
COLOURS = {
    **dict.fromkeys(STREAMS, BLUE), "cell": ORANGE,
    **{f"{branch}.output": colour for branch, colour in BRANCHES.items()},
}  # fmt: skip
USUAL_UPDATE = 1e-3


def plot_flow(flow: Flow, path: str | Path, title: str = "Gradient flow") -> None:
    """Draw one measurement against the depth of the model, as a PNG.

    Parameters
    ----------
    flow : Flow
    path : path
    title : str
    """
    figure = new_figure(9, 6, 110)
    figure.suptitle(title)
    (rms, grads), (weights, silent) = figure.subplots(2, 2)
    right = None
    for tap, colour in COLOURS.items():
        rows = _by_depth(flow, "activations", tap)
        if tap in STREAMS and rows:
            rows = [(-1, row) for row in flow.activations if row.name == "embeddings"] + rows
        _line(rms, rows, "rms", colour, tap)
        _line(grads, rows, "grad_norm", colour, tap)
        if any(row.attention_entropy is not None for _, row in rows):
            right = right or silent.twinx()
            _line(right, rows, "attention_entropy", colour, markersize=6)
    for branch, colour in BRANCHES.items():
        _line(weights, _by_depth(flow, "parameters", branch), "grad_norm", colour, branch)
    units = _by_depth(flow, "activations", "feed_forward.output")
    dead = [(depth, 100 * row.dead_units) for depth, row in units if row.dead_units is not None]
    if dead:
        silent.plot(*zip(*dead, strict=True), "o-", color=GREEN)
    silent.set_visible(bool(dead) or right is not None)  # a model may have neither
    silent.set_ylabel("dead units (%)", color=GREEN)
    silent.set_ylim(0, max([1.0, *(1.05 * share for _, share in dead)]))
    if right is not None:
        right.set_ylabel("attention entropy (nats)", color=ORANGE)
        right.set_ylim(bottom=0)
    rms.set_title("root mean square of activations")
    grads.set_title("norm of the gradients that reach them")
    weights.set_title("norm of the weights' gradients")
    silent.set_title("dead units, attention entropy")
    for axes in (rms, grads, weights):
        axes.set_yscale("log")
        axes.legend(frameon=False, fontsize=8)
    for axes in (rms, grads, weights, silent):
        axes.set_xlabel("block (-1: embeddings)" if axes in (rms, grads) else "block")
        axes.xaxis.get_major_locator().set_params(integer=True)
    draw_grid(rms, grads, weights, silent)
    save(figure, path)


def plot_flow_history(flows: Sequence[Flow], path: str | Path, title: str) -> None:
    """Draw the measurements of a training run against the step, one line a block, as a PNG.

    Parameters
    ----------
    flows : sequence of Flow
        Each with its step; at least one.
    path : path
    title : str
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = new_figure(11, 6.5, 110)
    figure.suptitle(title)
    panels = figure.subplots(2, 3, sharex=True).ravel()
    n_blocks = _num_blocks(flows[0])
    colours: Any = ScalarMappable(Normalize(0, max(1, n_blocks - 1)), colormaps["viridis"])
    for axes, (name, (log, *what)) in zip(panels, _HISTORY.items(), strict=True):
        axes.set_title(name, fontsize=10)
        means = [(flow.step, _means(flow, *what)) for flow in flows]
        drawn: list[float] = []
        for block in range(n_blocks):
            points = [(step, of_block[block]) for step, of_block in means if block in of_block]
            if points:
                drawn += [value for _, value in points]
                axes.plot(*zip(*points, strict=True), color=colours.to_rgba(block), linewidth=1.2)
        axes.set_visible(bool(drawn))
        if log and drawn and min(drawn) > 0:
            axes.set_yscale("log")
        elif min(drawn, default=-1) >= 0:
            axes.set_ylim(0, max(0.01, 1.05 * max(drawn)))
        if name.startswith("update"):
            axes.axhline(USUAL_UPDATE, color=GREY, linestyle="--", linewidth=0.8)
    draw_grid(*panels)
    for axes in panels[3:]:
        axes.set_xlabel("step")
    bar: Any = figure.colorbar(colours, ax=panels, shrink=0.6, label="block")
    bar.locator.set_params(integer=True)
    bar.update_ticks()
    save(figure, path)


def _names_of(flow: Flow) -> list[str]:
    rows: list[Any] = [*flow.activations, *flow.parameters]
    return [_numbered(row.name) for row in rows]


def _stacks_of(flow: Flow) -> dict[str, range]:
    return stacks_of(_names_of(flow))


def _num_blocks(flow: Flow) -> int:
    layers = [number for name in _names_of(flow) if (number := layer_of(name)[1]) is not None]
    return max(sum(map(len, _stacks_of(flow).values())), 1 + max(layers, default=-1))


def _numbered(name: str) -> str:
    """Write a recurrent layer's ``network.cell_l1`` as a block's ``network.1.cell``."""
    rest, layer = layer_of(name)
    stack, _, part = rest.rpartition(".")
    return name if layer is None or not stack else f"{stack}.{layer}.{part}"


def _by_depth(flow: Flow, rows: str, part: str) -> list[tuple[int, Any]]:
    """List the rows of this part of the blocks, each with its depth; -1 in no block."""
    stacks, found = _stacks_of(flow), []
    for row in getattr(flow, rows):
        stack, number, rest = place_of(_numbered(row.name))
        rest, layer = layer_of(rest)
        if rest == part:
            depth = -1 if layer is None else layer
            found.append((depth if number is None else stacks[stack][number], row))
    return sorted(found, key=lambda pair: pair[0])


def _line(axes, rows, attribute, colour, label=None, markersize=3.5) -> None:
    if rows:
        values = [getattr(row, attribute) for _, row in rows]
        depths = [depth for depth, _ in rows]
        axes.plot(depths, values, "o-", color=colour, label=label, markersize=markersize)


def _means(flow: Flow, rows: str, parts: tuple[str, ...], attribute: str) -> dict[int, float]:
    """Map the depth of a block to the mean over these parts of it, of those that have a number."""
    numbers: dict[int, list[float]] = {}
    for part in parts:
        for depth, row in _by_depth(flow, rows, part):
            number = getattr(row, attribute)
            if number is not None:
                numbers.setdefault(depth, []).append(number)
    return {depth: sum(found) / len(found) for depth, found in numbers.items()}


_LAYERS = tuple(BRANCHES)
# title: (logarithmic axis, rows of the flow, parts of a block, attribute)
_HISTORY: dict[str, tuple[Any, ...]] = {
    "residual stream (root mean square)": (True, "activations", STREAMS, "rms"),
    "gradient that reaches it (norm)": (True, "activations", STREAMS, "grad_norm"),
    "update / weights (dashed: 1e-3)": (True, "parameters", _LAYERS, "update_ratio"),
    "cosine with the step before": (False, "parameters", _LAYERS, "grad_cosine"),
    "dead units (share)": (False, "activations", ("feed_forward.output",), "dead_units"),
    "attention entropy (nats)": (
        False,
        "activations",
        ("attention.output",),
        "attention_entropy",
    ),
}

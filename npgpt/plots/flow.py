"""Gradient flow as pictures: along the depth of a model, and along the steps of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npgpt.files import atomic_path
from npgpt.gradients.flow import Flow

COLOURS = {"residual": "#4c72b0", "attention": "#dd8452", "feed_forward": "#55a868"}
USUAL_UPDATE = 1e-3


def plot_flow(flow: Flow, path: str | Path, title: str = "Gradient flow") -> None:
    """Draw one measurement against the depth of the model, as a PNG.

    Parameters
    ----------
    flow : Flow
    path : path
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    figure.suptitle(title)
    (rms, grads), (weights, silent) = figure.subplots(2, 2)
    for what, colour in COLOURS.items():
        tap = "residual" if what == "residual" else f"{what}.output"
        rows = [(_depth(row.name), row) for row in flow.activations if row.name.endswith(tap)]
        if what == "residual":
            rows += [(-1, row) for row in flow.activations if row.name == "embeddings"]
            rows.sort(key=lambda pair: pair[0])
        depth = [depth for depth, _ in rows]
        _line(rms, depth, [row.rms for _, row in rows], colour, tap)
        _line(grads, depth, [row.grad_norm for _, row in rows], colour, tap)
        layers = [(_depth(row.name), row) for row in flow.parameters if row.name.endswith(what)]
        if layers:
            depth = [depth for depth, _ in layers]
            _line(weights, depth, [row.grad_norm for _, row in layers], colour, what)
    dead = [(_depth(r.name), r.dead_units) for r in flow.activations if r.dead_units is not None]
    entropy = [
        (_depth(row.name), row.attention_entropy)
        for row in flow.activations
        if row.attention_entropy is not None
    ]
    if dead:
        depths, shares = zip(*dead, strict=True)
        silent.plot(depths, 100 * np.array(shares), "o-", color=COLOURS["feed_forward"])
    silent.set_ylabel("dead units (%)", color=COLOURS["feed_forward"])
    silent.set_ylim(0, max([1.0, *(105.0 * share for _, share in dead)]))
    if entropy:
        depths, nats = zip(*entropy, strict=True)
        right = silent.twinx()
        right.plot(depths, nats, "o-", color=COLOURS["attention"])
        right.set_ylabel("attention entropy (nats)", color=COLOURS["attention"])
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
        axes.grid(alpha=0.25)
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, format="png")


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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), dpi=110, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(2, 3, sharex=True).ravel()
    n_blocks = 1 + max((_depth(row.name) for row in flows[0].activations), default=0)
    colours: Any = ScalarMappable(Normalize(0, max(1, n_blocks - 1)), colormaps["viridis"])
    for axes, (name, (log, value_of)) in zip(panels, _HISTORY.items(), strict=True):
        axes.set_title(name, fontsize=10)
        drawn: list[float] = []
        for block in range(n_blocks):
            values = [(flow.step, value_of(flow, block)) for flow in flows]
            points = [(step, value) for step, value in values if value is not None]
            if points:
                drawn += [value for _, value in points]
                axes.plot(*zip(*points, strict=True), color=colours.to_rgba(block), linewidth=1.2)
        if log and drawn and min(drawn) > 0:
            axes.set_yscale("log")
        elif min(drawn, default=-1) >= 0:
            axes.set_ylim(0, max(0.01, 1.05 * max(drawn)))
        if name.startswith("update"):
            axes.axhline(USUAL_UPDATE, color="#8c8c8c", linestyle="--", linewidth=0.8)
        axes.grid(alpha=0.25)
    for axes in panels[3:]:
        axes.set_xlabel("step")
    bar: Any = figure.colorbar(colours, ax=panels, shrink=0.6, label="block")
    bar.locator.set_params(integer=True)
    bar.update_ticks()
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, format="png")


def _line(axes, depth, values, colour, label) -> None:
    axes.plot(depth, values, "o-", color=colour, label=label, markersize=3.5)


def _depth(name: str) -> int:
    """Return the number of the block in a dotted name; -1 where there is none."""
    found = re.search(r"\.(\d+)\.", f".{name}.")
    return int(found.group(1)) if found else -1


def _activation(name: str, attribute: str) -> Callable[[Flow, int], float | None]:
    def value(flow: Flow, block: int) -> float | None:
        for row in flow.activations:
            if row.name == f"blocks.{block}.{name}":
                return getattr(row, attribute)
        return None

    return value


def _blocks_mean(attribute: str) -> Callable[[Flow, int], float | None]:
    """Take the mean over the attention and feed-forward layer of a block."""

    def value(flow: Flow, block: int) -> float | None:
        numbers = [
            getattr(row, attribute)
            for row in flow.parameters
            if row.name in (f"blocks.{block}.attention", f"blocks.{block}.feed_forward")
        ]
        numbers = [number for number in numbers if number is not None]
        return sum(numbers) / len(numbers) if numbers else None

    return value


# title: (logarithmic axis, the value of a block)
_HISTORY: dict[str, tuple[bool, Callable[[Flow, int], float | None]]] = {
    "residual stream (root mean square)": (True, _activation("residual", "rms")),
    "gradient that reaches it (norm)": (True, _activation("residual", "grad_norm")),
    "update / weights (dashed: 1e-3)": (True, _blocks_mean("update_ratio")),
    "cosine with the step before": (False, _blocks_mean("grad_cosine")),
    "dead units (share)": (False, _activation("feed_forward.output", "dead_units")),
    "attention entropy (nats)": (False, _activation("attention.output", "attention_entropy")),
}

"""Medians, ratios with their spread, and where they are written."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine

RESULTS = Path("benchmarks/results")
console = Console()


def needs_torch() -> None:
    """End the program with a sentence if PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        typer.echo(
            "Error: PyTorch, the other side of this benchmark, is not installed; "
            "pip install 'npgpt[bench]' brings it.",
            err=True,
        )
        raise typer.Exit(1)


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Say, round by round, how many times as long as ours theirs took."""
    return [their / our for our, their in zip(ours, theirs, strict=True)]


def check_equal(what: str, results: Mapping[str, float], tolerance: float = 1e-3) -> None:
    """Raise RuntimeError if the sides' results differ: they would not have done the same work."""
    largest, smallest = max(results.values()), min(results.values())
    if not largest - smallest <= tolerance * max(abs(largest), abs(smallest), 1e-12):
        raise RuntimeError(f"{what}: the sides do not do the same work, results {dict(results)}.")


def with_spread(values: Sequence[float]) -> str:
    """Write a median, and from where to where the middle four fifths of the values reach."""
    low, high = np.percentile(values, [10, 90])
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows; the first column to the left, numbers to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def save(part: str, machine: Machine, results: Any, folder: Path = RESULTS) -> Path:
    """Write results, the machine and the versions to ``part.json``; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.json"
    content = {
        "part": part,
        "machine": dataclasses.asdict(machine),
        "versions": versions(),
        "results": results,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    console.print(f"Saved {path}", soft_wrap=True)
    return path


def versions() -> dict[str, str]:
    """Return the versions of what was measured."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("npgpt", "numpy", "numba", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def plot_bars(
    path: Path, title: str, label: str, groups: Mapping[str, Mapping[str, float]]
) -> None:
    """Draw horizontal bars: a group for each key, a bar for each side."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    sides = list(dict.fromkeys(side for bars in groups.values() for side in bars))
    height = 0.8 / len(sides)
    figure, axes = pyplot.subplots(figsize=(8, 0.6 + 0.28 * len(groups) * (len(sides) + 1)))
    for number, side in enumerate(sides):
        places = [i + number * height for i, bars in enumerate(groups.values()) if side in bars]
        values = [bars[side] for bars in groups.values() if side in bars]
        bars = axes.barh(places, values, 0.9 * height, label=side)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(groups))], list(groups))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(label)
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
    console.print(f"Saved {path}", soft_wrap=True)


def plot_lines(
    path: Path,
    title: str,
    labels: tuple[str, str],
    lines: Mapping[str, Mapping[float, float]],
    logarithmic: bool = True,
) -> None:
    """Draw a line for each side, on logarithmic axes or plain ones."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for side, points in lines.items():
        axes.plot(list(points), list(points.values()), marker="o", label=side)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_title(title, loc="left")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
    console.print(f"Saved {path}", soft_wrap=True)

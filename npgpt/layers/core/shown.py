"""What an interpreter and a notebook show of a layer."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from npgpt.html_table import html_table

MADE_BY_INIT = ("name", "training", "listener", "saved", "_unrolling")
NOT_SHOWN = ("seed", "stream", "first_stream")  # by a repr


class Shown:
    """A layer as text and as a table: its kind, what it was made with, the layers inside."""

    children: Callable[..., Iterator[tuple[str, Any]]]
    named_layers: Callable[..., Iterator[tuple[str, Any]]]

    def extra_repr(self) -> str:
        """Return the numbers that the layer was made with, for its ``repr``."""
        made_with = inspect.signature(type(self).__init__).parameters
        if "config" in made_with:  # those that it took from there
            names = [n for n in vars(self) if n not in MADE_BY_INIT and not n.startswith("_")]
        else:
            names = [n for n in made_with if n in vars(self) and n not in NOT_SHOWN]
        shown = []
        for name in names:
            value, given = vars(self)[name], made_with.get(name)
            if name == "bias":
                value = value is not None
            if type(value) not in (bool, int, float, str):
                continue
            default = given.default if given is not None else False
            if isinstance(value, str) or value != default:
                shown.append(f"{name}={value:.6g}" if type(value) is float else f"{name}={value!r}")
        return ", ".join(shown)

    def __repr__(self) -> str:
        lines = [self.extra_repr(), *self._lines_of_parts()]
        if len(lines) == 1:
            return f"{type(self).__name__}({lines[0]})"
        body = "\n".join(line for line in lines if line).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def _lines_of_parts(self) -> Iterator[str]:
        """Write the layers directly inside; equal ones of a list once, with their number."""
        parts: dict[str, list[str]] = {}
        for name, child in self._parts():
            stem, _, number = name.rpartition(".")
            parts.setdefault(stem if number.isdigit() else name, []).append(repr(child))
        for name, texts in parts.items():
            for text, same in itertools.groupby(texts):
                count = f"{len(list(same))} x " if len(texts) > 1 else ""
                yield f"({name}): {count}{text}"

    def _parts(self) -> Iterator[tuple[str, Shown]]:
        """Yield (name, layer) directly inside, and those of a layer without a name in its place."""
        for name, child in self.children():
            if name:
                yield name, child
            else:
                yield from child._parts()

    def _repr_html_(self) -> str:
        rows = [
            (name or "all", type(inner).__name__, inner.extra_repr(), f"{inner.num_parameters():,}")
            for name, inner in self.named_layers()
        ]
        header = ("layer", "kind", "made with", "parameters")
        return html_table(type(self).__name__, header, rows, numbers=[3])

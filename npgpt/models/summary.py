"""A table of a model's layers, shapes and parameter counts."""

from __future__ import annotations

import dataclasses
import re

from npgpt.html_table import html_table
from npgpt.layers import Layer

HEADER = ("parameter", "layer", "shape", "parameters")


@dataclasses.dataclass(frozen=True)
class SummaryRow:
    """One parameter, or the same parameter of several blocks in a row."""

    name: str
    layer: str
    shape: tuple[int, ...]
    copies: int
    parameters: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """Rows in the model's order; ``print(model.summary())`` shows them as a table."""

    title: str
    rows: list[SummaryRow]
    total: int

    @classmethod
    def of(cls, model: Layer) -> Summary:
        """Collect the parameters of a model; equal ones of consecutive blocks share a row."""
        layers = dict(model.named_layers())
        groups: dict[tuple, list[tuple[int, str, int]]] = {}
        for name, parameter in model.named_parameters():
            pattern, block = block_pattern(name)
            layer = type(layers[name.rpartition(".")[0]]).__name__
            key = (pattern, layer, parameter.shape)
            groups.setdefault(key, []).append((block, name, parameter.size))
        rows = []
        for (pattern, layer, shape), members in groups.items():
            blocks = [block for block, _, _ in members]
            name = members[0][1]
            if len(members) > 1:
                name = pattern.replace("*", f"{min(blocks)}-{max(blocks)}")
            parameters = sum(size for _, _, size in members)
            rows.append(SummaryRow(name, layer, shape, len(members), parameters))
        return cls(type(model).__name__, rows, model.num_parameters())

    def cells(self) -> list[tuple[str, str, str, str]]:
        """Return the rows as text: name, layer, shape (times copies), parameters."""
        return [
            (
                row.name,
                row.layer,
                " x ".join(map(str, row.shape)) + (f"  ({row.copies} of)" * (row.copies > 1)),
                f"{row.parameters:,}",
            )
            for row in self.rows
        ]

    def _repr_html_(self) -> str:
        total = ("total", "", "", f"{self.total:,}")
        return html_table(self.title, HEADER, self.cells(), footer=total, numbers=[3])

    def __str__(self) -> str:
        table = [HEADER, *self.cells()]
        table.append(("total", "", "", f"{self.total:,}"))
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        lines = [
            "  ".join(
                cell.rjust(width) if column == 3 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        rule = "-" * (sum(widths) + 6)
        return "\n".join([self.title, lines[0], rule, *lines[1:-1], rule, lines[-1]])


def block_pattern(name: str) -> tuple[str, int]:
    """Split ``blocks.3.attention.qkv.weight`` into ``blocks.*.attention.qkv.weight`` and 3."""
    match = re.match(r"blocks\.(\d+)(?=\.|$)", name)
    if not match:
        return name, 0
    return f"blocks.*{name[match.end() :]}", int(match.group(1))

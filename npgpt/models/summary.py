"""A table of a model's layers, shapes and parameter counts."""

from __future__ import annotations

import dataclasses

from npgpt.html_table import html_table
from npgpt.layers import Layer
from npgpt.layers.core.names import pattern_of
from npgpt.text_table import text_table

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
        owners = {
            id(parameter): type(layer).__name__
            for layer in reversed(list(model.layers()))  # a shared one is its first place's
            for _, parameter in layer.own_parameters()
        }
        groups: dict[tuple, list[tuple[int | None, str, int]]] = {}
        for name, parameter in model.named_parameters():
            pattern, block = pattern_of(name)
            layer = owners[id(parameter)]
            key = (pattern, layer, parameter.shape)
            groups.setdefault(key, []).append((block, name, parameter.size))
        rows = []
        for (pattern, layer, shape), members in groups.items():
            blocks = [block for block, _, _ in members if block is not None]
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

    def _footer(self) -> tuple[str, str, str, str]:
        return "total", "", "", f"{self.total:,}"

    def _repr_html_(self) -> str:
        return html_table(self.title, HEADER, self.cells(), self._footer(), numbers=[3])

    def __str__(self) -> str:
        return f"{self.title}\n{text_table(HEADER, self.cells(), [3], self._footer())}"

"""Rows of tokens with a number each, and the table of a logit's parts."""

from __future__ import annotations

import dataclasses
import re

from npgpt.trace.data import Trace
from npgpt.trace.page.colours import largest

PART_OF_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclasses.dataclass(frozen=True)
class Strip:
    """Tokens, each with a number that colours it."""

    title: str
    items: tuple[tuple[str, float | None, str], ...]  # shown, value, what to say about it
    scale: float

    @classmethod
    def of(cls, title: str, items) -> Strip:
        """Scale the colours by the largest magnitude."""
        items = tuple(items)
        return cls(title, items, largest(value for _, value, _ in items))


@dataclasses.dataclass(frozen=True)
class LogitRows:
    """The parts of a logit: a row a block, a column a kind of part; the others by name."""

    columns: tuple[str, ...]
    blocks: tuple[tuple[int, tuple[float | None, ...]], ...]
    others: tuple[tuple[str, float], ...]
    scale: float


def loss_strip(trace: Trace) -> Strip:
    """Colour each token by how badly it was predicted from those before it."""
    first = trace.predictions[0].token
    items: list[tuple[str, float | None, str]] = [
        (first.shown, None, f"{first.exact}: the first token, which nothing predicts")
    ]
    for prediction in trace.predictions:
        if prediction.target is None or prediction.probability is None:
            continue
        best, share = prediction.likeliest[0]
        items.append(
            (
                prediction.target.shown,
                prediction.loss,
                f"{prediction.target.exact}: loss {prediction.loss:.3f} nats, probability "
                f"{prediction.probability:.2%}, rank {prediction.rank}; likeliest was "
                f"{best.exact} with {share:.1%}",
            )
        )
    return Strip.of("Loss of each token, given those before it", items)


def attribution_strips(trace: Trace) -> list[Strip]:
    """Colour each token by its share in the logit that is explained."""
    explanation = trace.explanation
    strips = []
    for title, attribution in (
        ("Integrated gradients", explanation.integrated_gradients),
        ("Gradient × input", explanation.gradient_times_input),
    ):
        items = []
        for i, (prediction, value) in enumerate(
            zip(trace.predictions, attribution.values, strict=True)
        ):
            read = i <= explanation.position
            text = f"{prediction.token.exact}: {value:+.4f}" if read else "comes after the position"
            items.append((prediction.token.shown, float(value) if read else None, text))
        strips.append(Strip.of(title, items))
    return strips


def logit_rows(trace: Trace) -> LogitRows | None:
    """Arrange the parts of the explained logit, if it has any."""
    parts = trace.explanation.parts
    if parts is None:
        return None
    cells: dict[tuple[int, str], float] = {}
    others = []
    for name, value in zip(parts.names, parts.values.tolist(), strict=True):
        found = PART_OF_BLOCK.fullmatch(name)
        if found:
            column = found[2].removeprefix("attention.").replace(".", " ")
            cells[int(found[1]), column] = value
        else:
            others.append((name, value))
    columns = tuple(dict.fromkeys(column for _, column in cells))
    numbers = sorted({block for block, _ in cells})
    blocks = tuple(
        (block, tuple(cells.get((block, column)) for column in columns)) for block in numbers
    )
    return LogitRows(columns, blocks, tuple(others), largest(parts.values.tolist()))

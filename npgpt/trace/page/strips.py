"""Rows of tokens with a number each, and the table of a logit's parts."""

from __future__ import annotations

import dataclasses

from npgpt.layers.core.names import parent_of, place_of
from npgpt.trace.data import TraceData
from npgpt.trace.page.colours import largest


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
    blocks: tuple[tuple[str, tuple[float | None, ...]], ...]
    others: tuple[tuple[str, float], ...]
    scale: float


def loss_strip(trace: TraceData) -> Strip:
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


def attribution_strips(trace: TraceData) -> list[Strip]:
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


def logit_rows(trace: TraceData) -> LogitRows | None:
    """Arrange the parts of the explained logit, if it has any."""
    parts = trace.explanation.parts
    if parts is None:
        return None
    rows: dict[str, dict[str, float]] = {}
    others = []
    for name, value in zip(parts.names, parts.values.tolist(), strict=True):
        stack, number, rest = place_of(name)
        if stack:
            column = rest.removeprefix("attention.").replace(".", " ") or stack.removesuffix("s")
            rows.setdefault(f"{parent_of(stack)} {number}".lstrip(), {})[column] = value
        else:
            others.append((name, value))
    columns = tuple(dict.fromkeys(column for row in rows.values() for column in row))
    blocks = tuple((block, tuple(map(row.get, columns))) for block, row in rows.items())
    return LogitRows(columns, blocks, tuple(others), largest(parts.values.tolist()))

"""The model's diagram: where each box and arrow goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import cast

from npgpt.layers.block_config import BlockConfig
from npgpt.layers.core.names import parent_of
from npgpt.trace.boxes import Box
from npgpt.trace.data import TraceData

WIDTH = 340
CENTRE, BOX_WIDTH = 150, 176
BOX_HEIGHT, GAP, PART_HEIGHT = 36, 22, 22
SHORTCUT = 28  # x of the way round a branch
LABELS = WIDTH - 86  # x of what is written beside the way
FRAME = 8
RESIDUALS = ("residual_middle", "residual_cross")  # taps after the branches before the last


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer inside a box, on a line of its own."""

    name: str
    label: str
    y: float


@dataclasses.dataclass(frozen=True)
class Node:
    """A box of the diagram."""

    name: str
    label: str
    kind: str
    y: float
    height: float
    parts: tuple[Part, ...]


@dataclasses.dataclass(frozen=True)
class Shortcut:
    """The way of the residual stream round a branch, and the sum that ends it."""

    begin: float
    end: float


@dataclasses.dataclass(frozen=True)
class Loop:
    """What a recurrent layer hands from each step to the next, on the right of its box."""

    begin: float
    end: float
    states: str


@dataclasses.dataclass(frozen=True)
class Frame:
    """What is repeated: the blocks of a stack, or recurrent layers on each other."""

    name: str
    y: float
    height: float
    label: str


@dataclasses.dataclass(frozen=True)
class Label:
    """What is written beside the way: the root mean squares of an activation and its gradient."""

    y: float
    block: int | None
    value: float
    grad: float | None


@dataclasses.dataclass
class Diagram:
    """Everything that is drawn, with the y of the two ends of the way."""

    nodes: list[Node] = dataclasses.field(default_factory=list)
    shortcuts: list[Shortcut] = dataclasses.field(default_factory=list)
    loops: list[Loop] = dataclasses.field(default_factory=list)
    frames: list[Frame] = dataclasses.field(default_factory=list)
    labels: list[Label] = dataclasses.field(default_factory=list)
    arrows: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    height: float = 0.0
    width: int = WIDTH
    centre: int = CENTRE
    box_width: int = BOX_WIDTH
    shortcut_x: int = SHORTCUT
    label_x: int = LABELS


def diagram(trace: TraceData) -> Diagram:
    """Lay the model out from its tokens, at the top, to the loss."""
    boxes = {box.name: box for box in trace.boxes}
    drawn = Diagram()
    y = _arrow(drawn, 22.0)
    for name in _way(boxes, ""):
        layers = len({i.block for i in boxes[name].instances if i.block is not None})
        if not layers:
            y = _node(drawn, boxes, name, y, _children(boxes, name))
        else:
            _labels(drawn, boxes[parent_of(name)], "embeddings", y - GAP / 2 - 4)
            begin, y = y, y + FRAME + 14
            if boxes[name].place.is_block:
                y = _block(drawn, boxes, name, cast(BlockConfig, trace.config), y)
                word = "block" if boxes[name].place.stack.endswith("blocks") else "layer"
                text = f"{parent_of(name)} {word}, {layers} times".lstrip()
            else:
                y = _recurrent(drawn, boxes, name, y)
                text = f"layer, {layers} times"
            drawn.frames.append(Frame(name, begin, y - begin, text))
        y = _arrow(drawn, y)
    drawn.height = y + 24
    return drawn


def _way(boxes: dict[str, Box], parent: str) -> Iterator[str]:
    """Yield the names of the boxes from the tokens to the loss; what holds a stack is opened."""
    stacks = [name for name, box in boxes.items() if box.place.is_block]
    for name in _children(boxes, parent):
        if name not in stacks and any(stack.startswith(f"{name}.") for stack in stacks):
            yield from _way(boxes, name)
        else:
            yield name


def _recurrent(drawn: Diagram, boxes: dict[str, Box], name: str, y: float) -> float:
    """Draw a recurrent layer: its gates and states, and what goes on to the next step."""
    begin, y = y, _node(drawn, boxes, name, y, _children(boxes, name))
    states = "hₜ₋₁, cₜ₋₁" if f"{name}.cell" in boxes else "hₜ₋₁"
    drawn.loops.append(Loop(y - 12, begin + 12, states))
    _labels(drawn, boxes.get(f"{name}.hidden", boxes[name]), "hidden", y + 14)
    return y + FRAME + 16


def _block(
    drawn: Diagram, boxes: dict[str, Box], block: str, config: BlockConfig, y: float
) -> float:
    """Draw what is inside a block: branches, each a layer with its norm before or after it."""
    children = _children(boxes, block)
    branches = [name for name in children if f"{name}_norm" in children]
    if not branches:
        return _branch(drawn, boxes, block, y)
    for i, name in enumerate(branches):
        before_norm = config.norm_position == "post"
        begin = y - GAP / 2
        for part in (name, f"{name}_norm") if before_norm else (f"{name}_norm", name):
            y = _node(drawn, boxes, part, y, _children(boxes, part))
            if part == name and config.shortcut:
                y = _sum(drawn, begin, y)
            is_end = (part == name) is not before_norm
            if is_end:
                tap = "residual" if name == branches[-1] else RESIDUALS[i]
                _labels(drawn, boxes[block], tap, y + (0 if config.shortcut else 10))
            if not is_end or name != branches[-1]:
                y = _arrow(drawn, y)
    return y + FRAME + 8


def _branch(drawn: Diagram, boxes: dict[str, Box], block: str, y: float) -> float:
    """Draw a block that is one branch: its layers, the last with what it reads, and the sum."""
    begin, children = y - GAP / 2, _children(boxes, block)
    layers = [name for name in children if boxes[name].code]
    for name in layers:
        is_last = name == layers[-1]
        halves = [child for child in children if child not in layers] if is_last else []
        y = _node(drawn, boxes, name, y, halves)
        y = _sum(drawn, begin, y) if is_last else _arrow(drawn, y)
    _labels(drawn, boxes[parent_of(block)], "residual", y)
    return y + FRAME + 8


def _sum(drawn: Diagram, begin: float, y: float) -> float:
    """Draw the sum of a branch and of what goes round it from ``begin``."""
    drawn.arrows.append((y, y + 8))
    drawn.shortcuts.append(Shortcut(begin, y + 16))
    return y + 24


def _node(
    drawn: Diagram, boxes: dict[str, Box], name: str, y: float, inside: Sequence[str]
) -> float:
    box = boxes[name]
    height = BOX_HEIGHT + PART_HEIGHT * len(inside)
    parts = tuple(
        Part(part, _last(part), y + BOX_HEIGHT + PART_HEIGHT * i) for i, part in enumerate(inside)
    )
    drawn.nodes.append(Node(name, _last(name), box.kind, y, height, parts))
    return y + height


def _arrow(drawn: Diagram, y: float) -> float:
    drawn.arrows.append((y, y + GAP))
    return y + GAP


def _labels(drawn: Diagram, box: Box, tap: str, y: float) -> None:
    for instance in box.instances:
        for array in instance.arrays:
            if array.kind == tap:
                grad = array.grad.statistics.rms if array.grad else None
                drawn.labels.append(Label(y, instance.block, array.value.statistics.rms, grad))


def _children(boxes: dict[str, Box], parent: str) -> Sequence[str]:
    """Names of the boxes directly inside one; a stack's blocks are inside what holds the stack."""
    return [name for name in boxes if name and parent_of(name) == parent]


def _last(name: str) -> str:
    return name.rpartition(".")[2]

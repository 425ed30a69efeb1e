"""The boxes of a model's diagram: what each layer computes, its code, and the arrays in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from npgpt.layers import Dropout, Layer, Parameter
from npgpt.layers.core.layer import does_as
from npgpt.layers.core.names import Place, depth_of, layer_of, pattern_of, place_of
from npgpt.layers.core.taps import Listening
from npgpt.trace.array_views import ArrayView
from npgpt.trace.equations import Equation, equation_of
from npgpt.trace.source_lines import SourceLines, code_of
from npgpt.trace.steps import steps_of


@dataclasses.dataclass(frozen=True)
class ShownArray:
    """An activation or a parameter, with the gradient that reached it.

    Attributes
    ----------
    name : str
        Inside its box, such as ``scores`` or ``weight``.
    is_parameter : bool
    value, grad : ArrayView
        Without the batch of one.
    has_heads : bool
        Whether there is one heat map a head.
    same_as : str or None
        Dotted name of the parameter that this one is, where another layer has it first.
    """

    name: str
    is_parameter: bool
    value: ArrayView
    grad: ArrayView | None
    has_heads: bool = False
    same_as: str | None = None

    @property
    def kind(self) -> str:
        """The name without the layer that it may end with: ``cell`` of ``cell_l0``."""
        return layer_of(self.name)[0]


@dataclasses.dataclass(frozen=True)
class Instance:
    """A box in one block, or the only one.

    Attributes
    ----------
    name : str
        Dotted, such as ``blocks.3.attention``.
    block : int or None
        Also of a recurrent layer of several on each other, which have one name.
    arrays : tuple of ShownArray
    """

    name: str
    block: int | None
    arrays: tuple[ShownArray, ...]

    @property
    def title(self) -> str:
        """The name, and the layer where that does not say it."""
        name = self.name or "model"
        return name if depth_of(self.name) == self.block else f"{name}, layer {self.block}"


@dataclasses.dataclass(frozen=True)
class Box:
    """A layer of the diagram, or a gate or state; those of the same name in all blocks are one.

    Attributes
    ----------
    name : str
        Dotted, with ``*`` for the block: ``blocks.*.attention``.
    kind : str
        The class; several if blocks differ in it, of which the first one's equation is shown. Of a
        gate or a state, whose it is.
    summary : str
        First sentence of its docstring.
    equation : Equation
    code : tuple of SourceLines
    instances : tuple of Instance
    """

    name: str
    kind: str
    summary: str
    equation: Equation
    code: tuple[SourceLines, ...]
    instances: tuple[Instance, ...]

    @property
    def place(self) -> Place:
        """The name, cut at the ``*``."""
        return place_of(self.name)


class Views(Listening):
    """Looks at every activation and gradient of a model as it passes, and keeps the views.

    Parameters
    ----------
    model : Layer
    with_maps : collection of str
        Names (of taps) that get heat maps.
    """

    def __init__(self, model: Layer, with_maps: Collection[str]):
        super().__init__(model)
        self.with_maps = with_maps
        self.values: dict[str, ArrayView] = {}
        self.grads: dict[str, ArrayView] = {}

    def wants(self, name: str) -> bool:
        """Listen to every name: a box shows all of its arrays."""
        return True

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Look at an activation, (1, ...)."""
        self.values[name] = ArrayView.of(_of_one(array), name in self.with_maps)
        return array

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Look at a gradient, (1, ...)."""
        self.grads[name] = ArrayView.of(_of_one(array), name in self.with_maps)
        return array


def _of_one(array: np.ndarray) -> np.ndarray:
    """Leave out the axis of the batch of one, which a tap of another's layer may not have."""
    return array[0] if array.ndim and len(array) == 1 else array


def named_blocks(model: Layer, blocks: Collection[int]) -> set[str]:
    """List the names of taps and parameters in some blocks, and in no block."""
    names = [*model.tap_names(), *(name for name, _ in model.named_parameters())]
    return {name for name in names if depth_of(name) in (None, *blocks)}


def boxes_of(model: Layer, views: Views) -> tuple[Box, ...]:
    """Make the boxes of a model that has run forward and backward; dropout, being off, has none."""
    layers: dict[str, dict[str, Layer]] = {}
    for name, layer in model.named_layers():
        if not does_as(layer, Dropout):  # a part without a name of its own is in what holds it
            layers.setdefault(pattern_of(name)[0], {}).setdefault(name, layer)
    boxes = []
    for pattern, members in layers.items():
        first = next(iter(members.values()))
        steps = steps_of(first)
        instances = [i for name, layer in members.items() for i in _instances(name, layer, views)]
        boxes.append(
            Box(
                pattern,
                ", ".join(dict.fromkeys(type(layer).__name__ for layer in members.values())),
                (type(first).__doc__ or "").strip().partition("\n")[0],
                equation_of(first),
                tuple(code_of(first)),
                _without(instances, steps),
            )
        )
        for kind, step in steps.items():
            name = f"{pattern}.{kind}"
            boxes.append(
                Box(name, step.what, step.summary, step.equation, (), _only(instances, kind))
            )
    return tuple(boxes)


def _instances(name: str, layer: Layer, views: Views) -> list[Instance]:
    """Collect a layer's arrays; of recurrent layers on each other those of each."""
    prefix, number = f"{name}." if name else "", place_of(name).number
    arrays: dict[int | None, list[ShownArray]] = {number: []}
    for tap in layer.TAPS:
        value = views.values.get(prefix + tap)
        if value is not None:
            grad, heads = views.grads.get(prefix + tap), len(value.shape) == 3
            shown = ShownArray(tap, False, value, grad, has_heads=heads)
            arrays.setdefault(_depth(number, tap), []).append(shown)
    for attribute, parameter in layer.own_parameters():
        shown = _parameter(attribute, prefix + attribute, parameter, views.with_maps)
        arrays.setdefault(_depth(number, attribute), []).append(shown)
    return [Instance(name, depth, tuple(found)) for depth, found in arrays.items()]


def _depth(number: int | None, name: str) -> int | None:
    return layer_of(name)[1] if number is None else number


def _without(instances: list[Instance], kinds: Collection[str]) -> tuple[Instance, ...]:
    """Leave out the arrays that have boxes of their own."""
    return tuple(
        dataclasses.replace(i, arrays=tuple(a for a in i.arrays if a.kind not in kinds))
        for i in instances
    )


def _only(instances: list[Instance], kind: str) -> tuple[Instance, ...]:
    chosen = [
        dataclasses.replace(i, arrays=tuple(a for a in i.arrays if a.kind == kind))
        for i in instances
    ]
    return tuple(instance for instance in chosen if instance.arrays)


def _parameter(
    attribute: str, name: str, parameter: Parameter, with_maps: Collection[str]
) -> ShownArray:
    same_as = parameter.name if parameter.name != name else None
    maps = name in with_maps and same_as is None
    value = _as_matrix(parameter.value, maps)
    grad = None if parameter.grad is None else _as_matrix(parameter.grad, maps)
    return ShownArray(attribute, True, value, grad, same_as=same_as)


def _as_matrix(array: np.ndarray, maps: bool) -> ArrayView:
    """Look at a parameter with a row for each output: a kernel's positions are side by side."""
    matrix = array.reshape(len(array), -1) if array.ndim > 2 else array
    return dataclasses.replace(ArrayView.of(matrix, maps), shape=array.shape)

"""The boxes of a model's diagram: what each layer computes, its code, and the arrays in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from npgpt.layers import Dropout, Layer, Parameter
from npgpt.layers.core.names import Place, pattern_of, place_of
from npgpt.layers.core.taps import Listening
from npgpt.trace.array_views import ArrayView
from npgpt.trace.equations import Equation, equation_of
from npgpt.trace.source_lines import SourceLines, code_of


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


@dataclasses.dataclass(frozen=True)
class Instance:
    """A box in one block, or the only one.

    Attributes
    ----------
    name : str
        Dotted, such as ``blocks.3.attention``.
    block : int or None
    arrays : tuple of ShownArray
    """

    name: str
    block: int | None
    arrays: tuple[ShownArray, ...]


@dataclasses.dataclass(frozen=True)
class Box:
    """A layer of the diagram; those of the same name in all blocks are one.

    Attributes
    ----------
    name : str
        Dotted, with ``*`` for the block: ``blocks.*.attention``.
    kind : str
        The class.
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
        self.values[name] = ArrayView.of(array[0], name in self.with_maps)
        return array

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Look at a gradient, (1, ...)."""
        self.grads[name] = ArrayView.of(array[0], name in self.with_maps)
        return array


def named_blocks(model: Layer, blocks: Collection[int]) -> set[str]:
    """List the names of taps and parameters in some blocks, and in no block."""
    names = [*model.tap_names(), *(name for name, _ in model.named_parameters())]
    return {name for name in names if place_of(name).number in (None, *blocks)}


def boxes_of(model: Layer, views: Views) -> tuple[Box, ...]:
    """Make the boxes of a model that has run forward and backward; dropout, being off, has none."""
    layers: dict[str, dict[str, Layer]] = {}
    for name, layer in model.named_layers():
        if not isinstance(layer, Dropout):  # a part without a name of its own is in what holds it
            layers.setdefault(pattern_of(name)[0], {}).setdefault(name, layer)
    boxes = []
    for pattern, members in layers.items():
        first = next(iter(members.values()))
        boxes.append(
            Box(
                pattern,
                type(first).__name__,
                (type(first).__doc__ or "").strip().partition("\n")[0],
                equation_of(first),
                tuple(code_of(first)),
                tuple(_instance(name, layer, views) for name, layer in members.items()),
            )
        )
    return tuple(boxes)


def _instance(name: str, layer: Layer, views: Views) -> Instance:
    prefix = f"{name}." if name else ""
    arrays = []
    for tap in layer.TAPS:
        value = views.values.get(prefix + tap)
        if value is not None:
            grad = views.grads.get(prefix + tap)
            arrays.append(ShownArray(tap, False, value, grad, has_heads=len(value.shape) == 3))
    for attribute, parameter in vars(layer).items():
        if isinstance(parameter, Parameter):
            arrays.append(_parameter(attribute, prefix + attribute, parameter, views.with_maps))
    return Instance(name, place_of(name).number, tuple(arrays))


def _parameter(
    attribute: str, name: str, parameter: Parameter, with_maps: Collection[str]
) -> ShownArray:
    same_as = parameter.name if parameter.name != name else None
    maps = name in with_maps and same_as is None
    value, grad = ArrayView.of(parameter.value, maps), ArrayView.of(parameter.grad, maps)
    return ShownArray(attribute, True, value, grad, same_as=same_as)

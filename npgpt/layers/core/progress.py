"""How far layers have come: what their forward passes change beside what they save."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter

EVERY_LAYER = frozenset(vars(Layer()))  # name, mode, listener, what was saved


class Progress:
    """Dropout's steps, running means, the state of a layer's own random generator.

    A forward pass that is repeated, or that must leave no trace, goes back to it with `restore`.
    What changes in a layer is known of this package's (`Layer.CHANGES`); of a class that is defined
    elsewhere every attribute may, unless it is a layer or a parameter.

    Parameters
    ----------
    model : Layer
    """

    def __init__(self, model: Layer):
        self._kept = [
            (layer, name, value, _copied(value))
            for layer in model.layers()
            for name, value in _changing(layer)
        ]

    def restore(self) -> None:
        """Let the layers go on from here."""
        for layer, name, value, kept in self._kept:
            if isinstance(value, np.random.Generator):
                value.bit_generator.state = copy.deepcopy(kept)
            elif isinstance(value, np.random.RandomState):
                value.set_state(kept)
            elif isinstance(value, random.Random):
                value.setstate(kept)
            elif not _same(value, kept):
                if isinstance(value, np.ndarray):
                    value[...] = kept  # also others may hold it
                else:
                    value = _copied(kept)
            setattr(layer, name, value)


def _changing(layer: Layer) -> Iterator[tuple[str, Any]]:
    attributes = vars(layer)
    if not layer.is_foreign:
        yield from ((name, attributes[name]) for name in layer.CHANGES)
        return
    for name, value in attributes.items():
        if name not in EVERY_LAYER and not _is_part(value) and not callable(value):
            yield name, value


def _is_part(value: Any) -> bool:
    """Whether an attribute is a layer or a parameter, or a list that holds one."""
    if isinstance(value, list):
        return any(map(_is_part, value))
    return isinstance(value, Layer | Parameter)


def _same(value: Any, kept: Any) -> bool:
    """Whether nothing in a value differs from its copy."""
    if type(value) is not type(kept):
        return False
    if isinstance(value, np.ndarray):
        return np.array_equal(value, kept, equal_nan=value.dtype.kind in "fc")
    if isinstance(value, list | tuple):
        return len(value) == len(kept) and all(map(_same, value, kept))
    if isinstance(value, dict):
        return value.keys() == kept.keys() and all(_same(value[k], kept[k]) for k in kept)
    if type(value).__eq__ is object.__eq__:
        return hasattr(value, "__dict__") and _same(vars(value), vars(kept))
    return bool(value == kept)


def _copied(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return copy.deepcopy(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return value.get_state()
    if isinstance(value, random.Random):
        return value.getstate()
    try:
        return copy.deepcopy(value)
    except TypeError:  # a file, a lock: nothing that a number depends on
        return value

"""What a forward and a backward pass promise beside right numbers, and arrays that nobody lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from npgpt.layers import Layer, Parameter

NOT_KEPT = ("listener",)  # attributes of every layer that hold nothing of its own


class Unchanged:
    """Arrays that must be after a call what they were before.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        By what an error calls them.
    """

    def __init__(self, arrays: Mapping[str, Any]):
        self._arrays = {name: x for name, x in arrays.items() if isinstance(x, np.ndarray)}
        self._copies = {name: x.copy() for name, x in self._arrays.items()}

    def changed(self) -> list[str]:
        """List the names of those that are not."""
        return [name for name, x in self._arrays.items() if not same(x, self._copies[name])]


def same(x: Any, y: Any) -> bool:
    """Tell whether two arrays, or numbers, are the same, nan included."""
    x, y = np.asarray(x), np.asarray(y)
    return x.shape == y.shape and np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")


def misfit(gradient: Any, x: np.ndarray, name: str) -> str | None:
    """Say what is wrong with the form of a gradient, if anything is."""
    if not isinstance(gradient, np.ndarray | np.generic):
        return f"the gradient of {name} must be an array, got {type(gradient).__name__}"
    if gradient.shape != x.shape:
        return f"the gradient of {name} has shape {gradient.shape}, where {name} has {x.shape}"
    if gradient.dtype != x.dtype:
        return f"the gradient of {name} is {gradient.dtype}, where {name} is {x.dtype}"
    return None


# --- what a layer holds ---------------------------------------------------------------------------


def arrays_kept(layer: Layer) -> dict[str, np.ndarray]:
    """Map what an error calls them to the arrays that a layer, and those inside, keep.

    Parameters, whose values and gradients are looked at by themselves, are left out.
    """
    found = {}
    for path, thing in _held(layer):
        if isinstance(thing, np.ndarray):
            kept = path.rpartition(" of ")[0].startswith("saved") or path.startswith("saved")
            found[f"{path}, which forward kept," if kept else path] = thing
    return found


def arrays_nobody_lists(layer: Layer) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """Find what may be learned and is neither a Parameter nor found where it is.

    Yields
    ------
    path, what, array : str, str, ndarray or None
        Where it is, what to do about it, and, where only a look at the output tells whether it
        matters, the array.
    """
    found = {id(parameter) for parameter in layer.parameters()}
    listed = [parameter.value for parameter in layer.parameters()]
    buffers = {
        id(vars(inner).get(name)) for inner in layer.layers() for name in type(inner).BUFFERS
    }
    for path, thing in _held(layer):
        if isinstance(thing, Layer):
            yield path, "is a layer where none is found; put it into an attribute or a list", None
        elif isinstance(thing, Parameter):
            if id(thing) not in found:
                what = "is a Parameter where none is found; put it into an attribute or a list"
                yield path, what, None
        elif (
            thing.dtype.kind == "f"
            and id(thing) not in buffers
            and not any(np.shares_memory(thing, value) for value in listed)
        ):
            what = (
                "decides the output and is no Parameter, so that nothing checks or trains it; make "
                "it one, or name it in BUFFERS if it is not learned"
            )
            yield path, what, thing


def constants_of(layer: Layer) -> set[str]:
    """Return the paths of arrays that cannot be written; a copy of the layer has forgotten that."""
    return {
        path
        for path, thing in _held(layer)
        if isinstance(thing, np.ndarray) and not thing.flags.writeable
    }


def matters(array: np.ndarray, forward: Callable[[], Any]) -> bool:
    """Tell whether the output depends on an array."""
    before, y = array.copy(), forward()
    try:
        array += np.random.default_rng(0).standard_normal(array.shape) * (1 + np.abs(before))
        return not same(forward(), y)
    finally:
        array[...] = before


def _held(layer: Layer) -> Iterator[tuple[str, Any]]:
    """Yield (path, array, layer or parameter) for all that layers hold and do not list."""
    seen: set[int] = set()
    for where, inner in layer.named_layers():
        place = f" of {where!r}" if where else ""
        listed = {id(child) for _, child in inner.children()}
        for name, attribute in vars(inner).items():
            if name in NOT_KEPT or isinstance(attribute, Parameter) or id(attribute) in listed:
                continue
            for path, thing in _inside(name, attribute, seen):
                if id(thing) not in listed and not (
                    name == "saved" and isinstance(thing, Layer | Parameter)
                ):
                    yield f"{path}{place}", thing


def _inside(path: str, thing: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield (path, array, layer or parameter) in containers, and in objects that hold them."""
    if isinstance(thing, np.ndarray | Layer | Parameter):
        yield path, thing
        return
    if isinstance(thing, Mapping):
        items = [(f"{path}[{key!r}]", value) for key, value in thing.items()]
    elif isinstance(thing, list | tuple | set | frozenset):
        items = [(f"{path}[{i}]", value) for i, value in enumerate(thing)]
    elif isinstance(getattr(thing, "__dict__", None), dict) and not callable(thing):
        items = [(f"{path}.{name}", value) for name, value in vars(thing).items()]
    else:
        return
    if id(thing) not in seen:
        seen.add(id(thing))
        for inner_path, value in items:
            yield from _inside(inner_path, value, seen)

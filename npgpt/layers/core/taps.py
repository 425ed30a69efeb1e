"""Who hears, and may replace, the arrays that layers name as they make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Protocol

import numpy as np

Change = Callable[[np.ndarray], np.ndarray]


class Listener(Protocol):
    """Sees, and may replace, what layers tap."""

    def wants(self, name: str) -> bool:
        """Tell whether the array of this dotted name is of interest."""

    def forward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take an intermediate array on the way forward; return what the layer goes on with."""

    def backward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take an intermediate gradient on the way back; return what the layer goes on with."""


class Tapped(Protocol):
    """What has taps: a `Layer`."""

    listener: Any

    def listen(self, listener: Listener | None) -> None:
        """Send the taps to a listener."""

    def tap_names(self) -> Iterator[str]:
        """Yield the dotted name of every tap."""


class Listeners:
    """Several listeners, each with what the one before it returned; those of one model."""

    def __init__(self) -> None:
        self.members: list[Listener] = []

    @property
    def edits(self) -> bool:
        """Whether any of them replaces activations."""
        return any(isinstance(m, Edit) and m.changes_forward for m in self.members)

    def wants(self, name: str) -> bool:
        """Tell whether any of them is interested."""
        return any(member.wants(name) for member in self.members)

    def forward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Hand the array from one to the next."""
        for member in self.members:
            if member.wants(name):
                array = member.forward(name, array)
        return array

    def backward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Hand the gradient from one to the next."""
        for member in self.members:
            if member.wants(name):
                array = member.backward(name, array)
        return array


class Listening:
    """A listener that hears a model inside a ``with`` block, beside those that hear it already.

    By itself it wants nothing and changes nothing.
    """

    def __init__(self, model: Tapped):
        self._model = model

    def wants(self, name: str) -> bool:
        """Tell whether the array of this name is of interest."""
        return False

    def forward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take an activation; return what the layer goes on with."""
        return array

    def backward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take a gradient; return what the layer goes on with."""
        return array

    def __enter__(self):
        listeners = self._model.listener
        if not isinstance(listeners, Listeners):
            already, listeners = listeners, Listeners()
            if already is not None:
                listeners.members.append(already)
            self._model.listen(listeners)
        listeners.members.append(self)
        return self

    def __exit__(self, *exc_info) -> None:
        listeners = self._model.listener
        if isinstance(listeners, Listeners):
            listeners.members = [member for member in listeners.members if member is not self]
            if not listeners.members:
                self._model.listen(None)


class Edit(Listening):
    """Replace the arrays of one name, or of a pattern, while the block lasts; see `Layer.edit`."""

    def __init__(
        self, model: Tapped, name: str, forward: Change | None, backward: Change | None
    ) -> None:
        super().__init__(model)
        self.names = matching_names(model, name, "edit")
        self._forward, self._backward = forward, backward

    @property
    def changes_forward(self) -> bool:
        """Whether activations are replaced, and not gradients alone."""
        return self._forward is not None

    def wants(self, name: str) -> bool:
        """Tell whether the array of this name is edited."""
        return name in self.names

    def forward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return what takes the place of an activation."""
        return _changed(self._forward, "forward", name, array)

    def backward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return what takes the place of a gradient."""
        return _changed(self._backward, "backward", name, array)


def _changed(change: Change | None, which: str, name: str, array: np.ndarray) -> np.ndarray:
    if change is None:
        return array
    changed = np.asarray(change(array))
    if changed.shape != array.shape:
        raise ValueError(
            f"edit: {which} of {name!r} must return an array of shape {array.shape}, "
            f"got {changed.shape}."
        )
    return changed.astype(array.dtype, copy=False)


def matching_names(model: Tapped, pattern: str, what: str) -> list[str]:
    """List the model's taps that a name or a pattern with ``*`` matches.

    Raises
    ------
    ValueError
        If there is none.
    """
    names = list(model.tap_names())
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        last = pattern.rpartition(".")[2]
        near = [name for name in names if name.rpartition(".")[2] == last] or names
        raise ValueError(f"{what}: nothing is named {pattern!r}; there is {', '.join(near[:8])}.")
    return matching

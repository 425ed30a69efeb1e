"""Who hears, and may replace, the arrays that layers name as they make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Protocol

import numpy as np

from npgpt.fields import did_you_mean

Change = Callable[[np.ndarray], np.ndarray]


class Listener(Protocol):
    """Sees, and may replace, what layers tap.

    The arrays are those that the model goes on with, so they cannot be written: a listener that
    wants another one returns it.
    """

    def wants(self, name: str) -> bool:
        """Tell whether the array of this dotted name is of interest."""

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take an intermediate array on the way forward; return what the layer goes on with.

        Parameters
        ----------
        name : str
            The tap's dotted name in the model.
        array : ndarray
            It cannot be written to; to change it, return another.
        """

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take an intermediate gradient on the way back; return what the layer goes on with.

        Parameters
        ----------
        name, array
            As for `on_activation`.
        """


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

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Hand the array from one to the next.

        Parameters
        ----------
        name, array
            As for `Listener.on_activation`.
        """
        for member in self.members:
            if member.wants(name):
                array = member.on_activation(name, array)
        return array

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Hand the gradient from one to the next.

        Parameters
        ----------
        name, array
            As for `Listener.on_gradient`.
        """
        for member in self.members:
            if member.wants(name):
                array = member.on_gradient(name, array)
        return array


class Guarded:
    """A listener from outside, which is lent each array and cannot write to it.

    Parameters
    ----------
    listener : Listener
    """

    def __init__(self, listener: Listener):
        self.listener = listener

    def wants(self, name: str) -> bool:
        """Tell whether the array of this name is of interest."""
        return self.listener.wants(name)

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Lend an activation; return it, or a copy of what takes its place.

        Parameters
        ----------
        name, array
            As for `Listener.on_activation`.
        """
        return self._heard("on_activation", name, array)

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Lend a gradient; return it, or a copy of what takes its place.

        Parameters
        ----------
        name, array
            As for `Listener.on_gradient`.
        """
        return self._heard("on_gradient", name, array)

    def _heard(self, which: str, name: str, array: np.ndarray) -> np.ndarray:
        lent = read_only(array)
        heard = getattr(self.listener, which)(name, lent)
        return array if heard is lent else _in_place_of(array, heard, "listener", which, name)


class Listening:
    """A listener that hears a model inside a ``with`` block, beside those that hear it already.

    By itself it wants nothing and changes nothing.
    """

    def __init__(self, model: Tapped):
        self._model = model

    def wants(self, name: str) -> bool:
        """Tell whether the array of this name is of interest."""
        return False

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take an activation; return what the layer goes on with.

        Parameters
        ----------
        name, array
            As for `Listener.on_activation`.
        """
        return array

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take a gradient; return what the layer goes on with.

        Parameters
        ----------
        name, array
            As for `Listener.on_gradient`.
        """
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

    def __exit__(self, *exc_info: object) -> None:
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

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return what takes the place of an activation.

        Parameters
        ----------
        name, array
            As for `Listener.on_activation`.
        """
        return _changed(self._forward, "forward", name, array)

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return what takes the place of a gradient.

        Parameters
        ----------
        name, array
            As for `Listener.on_gradient`.
        """
        return _changed(self._backward, "backward", name, array)


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view of an array through which it cannot be written."""
    view = array.view()
    view.flags.writeable = False
    return view


def _changed(change: Change | None, which: str, name: str, array: np.ndarray) -> np.ndarray:
    """Let a function have a copy: what it writes to it must not reach those who use the array."""
    if change is None:
        return array
    return _in_place_of(array, change(array.copy()), "edit", which, name)


def _in_place_of(array: np.ndarray, other: Any, who: str, which: str, name: str) -> np.ndarray:
    """Return a copy of what somebody wants in an array's place, who may still write to it."""
    if other is None:
        raise ValueError(
            f"{who}: {which} of {name!r} returned None; it must return the array that the model "
            "goes on with, also where it has changed the one that it was given."
        )
    other = np.asarray(other)
    if other.shape != array.shape:
        raise ValueError(
            f"{who}: {which} of {name!r} must return an array of shape {array.shape}, "
            f"got {other.shape}."
        )
    if not np.can_cast(other.dtype, array.dtype, "same_kind"):
        raise ValueError(
            f"{who}: {which} of {name!r} must return an array of {array.dtype}, got {other.dtype}."
        )
    return np.array(other, array.dtype)


def matching_names(model: Tapped, pattern: str, what: str) -> list[str]:
    """List the model's taps that a name or a pattern with ``*`` matches.

    Parameters
    ----------
    model : Tapped
    pattern : str
    what : str
        Who asks, for the error.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"{what}: expected the name of a tap, or a pattern, got {pattern!r}.")
    names = list(model.tap_names())
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        raise ValueError(f"{what}: nothing is named {pattern!r}{did_you_mean(pattern, names)}")
    return matching

"""What the recurrent operations share: the order of the steps, and sequences that have ended.

Arrays are (time, batch, ...), so that each step finds its rows side by side. States are
(time + 1, batch, d_hidden): one before the first position that is read, and one after each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npgpt.ops.array import Array

Tap = Callable[[str, Array, int], Array]


def steps(time: int, reverse: bool) -> Iterator[tuple[int, int, int]]:
    """Yield (position, where the state before it is, where the one after it is), as they are read.

    Forwards, state ``t`` is the one before position ``t``; in reverse, it is the one after it.

    Parameters
    ----------
    time : int
    reverse : bool
        Whether the last position is read first.
    """
    for t in reversed(range(time)) if reverse else range(time):
        yield (t, t + 1, t) if reverse else (t, t, t + 1)


def steps_back(time: int, reverse: bool) -> Iterator[tuple[int, int, int]]:
    """Yield the same from the last step to the first.

    Parameters
    ----------
    time : int
    reverse : bool
        Whether the last position is read first.
    """
    for t, after, before in steps(time, not reverse):
        yield t, before, after


def before(states: Array, reverse: bool) -> Array:
    """View the state before each position.

    Parameters
    ----------
    states : ndarray, shape (time + 1, batch, d_hidden)
    reverse : bool
        Whether the last position is read first.
    """
    return states[1:] if reverse else states[:-1]


def after(states: Array, reverse: bool) -> Array:
    """View the state after each position.

    Parameters
    ----------
    states : ndarray, shape (time + 1, batch, d_hidden)
    reverse : bool
        Whether the last position is read first.
    """
    return states[:-1] if reverse else states[1:]


def of_last(gradient: Array | None, states: Array) -> Array:
    """Return the gradient of the state after the last step, which is 0 if none was given.

    Parameters
    ----------
    gradient : ndarray, shape (batch, d_hidden), optional
    states : ndarray, shape (time + 1, batch, d_hidden)
    """
    return np.zeros_like(states[0]) if gradient is None else gradient


def begin(state: Array, time: int, reverse: bool, make: Callable[..., Array] = np.zeros) -> Array:
    """Make room for the states of all steps, of which the first is there.

    Parameters
    ----------
    state : ndarray, shape (batch, d_hidden)
    time : int
    reverse : bool
        Whether the last position is read first.
    make : function
        From a shape and a dtype to an array.
    """
    states = make((time + 1, *state.shape), state.dtype)
    states[time if reverse else 0] = state
    return states


def are_there(lengths: Array | None, time: int, batch: int) -> Array:
    """Tell for each position, (time, batch, 1), whether its sequence has not ended before it.

    Parameters
    ----------
    lengths : ndarray of int, shape (batch,), optional
    time, batch : int
    """
    if lengths is None:
        return np.ones((time, batch, 1), bool)
    return (np.arange(time)[:, None] < lengths)[..., None]


def sigmoid(x: Array) -> Array:
    """Compute ``1 / (1 + exp(-x))``."""
    return 1.0 / (1.0 + np.exp(-x))


def tapped(tap: Tap | None, names: Sequence[str], array: Array, t: int) -> list[Array]:
    """Cut what step ``t`` made in its parts, after somebody who listens has had them.

    What a listener returns in a part's place at ``t`` is what the step goes on with.

    Parameters
    ----------
    tap : function, optional
    names : sequence of str
        Of the parts.
    array : ndarray, shape (time, batch, parts * d_hidden)
        Made as far as the steps have come.
    t : int
    """
    parts = np.split(array, len(names), axis=-1)
    if tap is not None:
        for name, part in zip(names, parts, strict=True):
            part[t] = tap(name, part, t)
    return [part[t] for part in parts]

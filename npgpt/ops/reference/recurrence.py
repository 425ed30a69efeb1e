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
    """
    for t in reversed(range(time)) if reverse else range(time):
        yield (t, t + 1, t) if reverse else (t, t, t + 1)


def steps_back(time: int, reverse: bool) -> Iterator[tuple[int, int, int]]:
    """Yield the same from the last step to the first."""
    for t, after, before in steps(time, not reverse):
        yield t, before, after


def before(states: Array, reverse: bool) -> Array:
    """View the state before each position."""
    return states[1:] if reverse else states[:-1]


def after(states: Array, reverse: bool) -> Array:
    """View the state after each position."""
    return states[:-1] if reverse else states[1:]


def of_last(gradient: Array | None, states: Array) -> Array:
    """Return the gradient of the state after the last step, which is 0 if none was given."""
    return np.zeros_like(states[0]) if gradient is None else gradient


def begin(state: Array, time: int, reverse: bool, make: Callable[..., Array] = np.zeros) -> Array:
    """Make room for the states of all steps, of which the first is there."""
    states = make((time + 1, *state.shape), state.dtype)
    states[time if reverse else 0] = state
    return states


def are_there(lengths: Array | None, time: int, batch: int) -> Array:
    """Tell for each position, (time, batch, 1), whether its sequence has not ended before it."""
    if lengths is None:
        return np.ones((time, batch, 1), bool)
    return (np.arange(time)[:, None] < lengths)[..., None]


def sigmoid(x: Array) -> Array:
    """Compute ``1 / (1 + exp(-x))``."""
    return 1.0 / (1.0 + np.exp(-x))


def tapped(tap: Tap | None, names: Sequence[str], array: Array, t: int) -> list[Array]:
    """Cut what step ``t`` made in its parts, after somebody who listens has had them.

    ``array`` is (time, batch, parts * d_hidden), made as far as the steps have come: what a
    listener returns in its place at ``t`` is what the step goes on with.
    """
    parts = np.split(array, len(names), axis=-1)
    if tap is not None:
        for name, part in zip(names, parts, strict=True):
            part[t] = tap(name, part, t)
    return [part[t] for part in parts]

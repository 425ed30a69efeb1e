"""What the recurrent layers share: layers on layers, both directions, lengths, states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from npgpt import ops
from npgpt.fields import check_real, check_whole, short_repr
from npgpt.layers.core.init import Init, Rng, Unfilled, uniform
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.dropout import Dropout
from npgpt.ops.array import Array

States = tuple[Array, ...]

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(Layer):
    """What `RNN`, `GRU` and `LSTM` share: layers on layers, both directions, lengths, states.

    A subclass says how wide its products are, what its steps make, and with which operations.
    """

    IN_STEPS = True
    op: str  # the operations are ops.<op>_forward and ops.<op>_backward
    PARTS: ClassVar[int]  # sums that a step needs for each number of the state
    STATES: ClassVar[int] = 1  # arrays of a state
    STEP_TAPS: ClassVar[tuple[str, ...]]  # what each step makes, in order

    def __init__(
        self,
        d_in: int,
        d_hidden: int,
        n_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        rng: Rng = None,
        dtype: Any = np.float32,
        *,
        bias: bool = True,
        seed: int = 0,
        init: Init | None = None,
    ):
        super().__init__()
        who = type(self).__name__
        check_whole(who, 1, d_in=d_in, d_hidden=d_hidden, n_layers=n_layers)
        check_real(who, dropout=dropout)
        if not 0.0 <= dropout < 1.0:  # with a single layer there is no `Dropout` to say so
            raise ValueError(f"{who}: dropout must be at least 0 and below 1, got {dropout}.")
        self.d_in, self.d_hidden, self.n_layers = d_in, d_hidden, n_layers
        self.bidirectional = bool(bidirectional)
        self.num_directions = 2 if bidirectional else 1
        self.IN_STEPS = not bidirectional
        if init is None:
            init = Init(seed, dtype)
            init.rng = rng if isinstance(rng, Unfilled) else np.random.default_rng(rng)
        most = 1.0 / math.sqrt(d_hidden)
        for place, suffix in enumerate(self.suffixes()):
            d_read = d_in if place < self.num_directions else self.num_directions * d_hidden
            for name, columns in (("weight_ih", d_read), ("weight_hh", d_hidden)):
                value = uniform(init.rng, (self.PARTS * d_hidden, columns), most, init.dtype)
                setattr(self, name + suffix, Parameter(value))
            for name in ("bias_ih", "bias_hh"):
                value = np.zeros(self.PARTS * d_hidden, init.dtype)
                setattr(self, name + suffix, Parameter(value) if bias else None)
        self.dropouts: list[Dropout] = [init.dropout(dropout) for _ in range(n_layers - 1)]
        self.TAPS = (*(tap + end for end in self.suffixes() for tap in self.STEP_TAPS), "output")

    def forward(
        self, x: Array, state: States | None = None, lengths: Array | Sequence[int] | None = None
    ) -> tuple[Array, States]:
        """Read sequences from the first position to the last and, if bidirectional, back.

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_in)
        state : tuple of ndarray, each (n_layers * directions, batch, d_hidden), optional
            The states before the first step: ``(h,)``, of an LSTM ``(h, c)``. By default 0.
        lengths : array of int, shape (batch,), optional
            How many positions of each sequence are there; the others are padding. By default all.

        Returns
        -------
        y : ndarray, shape (batch, time, directions * d_hidden)
            The last layer's hidden state at each position, that of the way back behind; 0 at
            padding.
        state : tuple of ndarray, each (n_layers * directions, batch, d_hidden)
            The states after the last step of each sequence, which on the way back is its first
            position; layer by layer, forwards before reverse. What was given, for a length of 0.

        Raises
        ------
        ValueError
            If a shape does not fit, or a length is not between 0 and the time.
        """
        before = self._checked(x, state)
        lengths = self._checked_lengths(lengths, *x.shape[:2])
        after = tuple(np.empty_like(states) for states in before)
        read, passes = _swapped(x), []
        for layer in range(self.n_layers):
            if layer > 0:
                read = self.dropouts[layer - 1].forward(read)
            outputs = []
            for place, suffix in self._directions(layer):
                y, *kept = getattr(ops, f"{self.op}_forward")(
                    read, *(states[place] for states in before), *self._values(suffix),
                    **self._options(suffix, lengths), tap=self._step_tap(suffix, self.tap),
                )  # fmt: skip
                for states, of_steps in zip(after, kept, strict=False):
                    states[place] = of_steps[0 if _is_reverse(suffix) else -1]
                passes.append(Pass(read, kept))
                outputs.append(y)
            read = _joined(outputs)
        self.keep(Read(x.shape, lengths, passes))
        return self.tap("output", _swapped(read)), after

    def backward(self, dy: Array, dstate: States | None = None) -> tuple[Array, States]:
        """Go back through time and through the layers; add to the gradients of all weights.

        Parameters
        ----------
        dy : ndarray, shape (batch, time, directions * d_hidden)
        dstate : tuple of ndarray, optional
            The gradients of the states that forward returned; by default 0.

        Returns
        -------
        dx : ndarray, shape (batch, time, d_in)
        dstate : tuple of ndarray
            The gradients of the states before the first step.
        """
        saved = self.recall()
        self._check_dy(dy, (*saved.shape[:2], self.num_directions * self.d_hidden))
        dafter = self._checked_states(dy, dstate, "backward expected dstate")
        dbefore = tuple(np.empty_like(states) for states in dafter)
        dread = _swapped(self.tap_grad("output", dy))
        for layer in reversed(range(self.n_layers)):
            dparts = np.split(dread, self.num_directions, axis=-1)
            dinputs = []
            for (place, suffix), dpart in zip(self._directions(layer), dparts, strict=True):
                read, kept = saved.passes[place]
                dx, *dstates = getattr(ops, f"{self.op}_backward")(
                    np.ascontiguousarray(dpart), read, *self._values(suffix)[:2], *kept,
                    **self._options(suffix, saved.lengths),
                    tap=self._step_tap(suffix, self.tap_grad),
                    **{name: d[place] for name, d in zip(("dh_n", "dc_n"), dafter, strict=False)},
                    **self._gradients(suffix),
                )  # fmt: skip
                for states, gradient in zip(dbefore, dstates, strict=True):
                    states[place] = gradient
                dinputs.append(dx)
            dread = dinputs[0] if len(dinputs) == 1 else ops.add(*dinputs)
            if layer > 0:
                dread = self.dropouts[layer - 1].backward(dread)
        return _swapped(dread), dbefore

    # --- weights, by layer and direction --------------------------------------------------------

    def suffixes(self) -> list[str]:
        """List the ends of the weights' names, of each layer and direction, in a state's order."""
        return [
            f"_l{layer}{direction}"
            for layer in range(self.n_layers)
            for direction in ("", "_reverse")[: self.num_directions]
        ]

    def _directions(self, layer: int) -> list[tuple[int, str]]:
        """List the place in a state, and the end of the weights' names, of a layer's directions."""
        begin = layer * self.num_directions
        return list(enumerate(self.suffixes()))[begin : begin + self.num_directions]

    def _parameters(self, suffix: str) -> dict[str, Parameter | None]:
        return {name: getattr(self, name + suffix) for name in WEIGHTS}

    def _values(self, suffix: str) -> list[Array | None]:
        parameters = self._parameters(suffix).values()
        return [parameter.value if parameter else None for parameter in parameters]

    def _gradients(self, suffix: str) -> dict[str, Array | None]:
        parameters = self._parameters(suffix).items()
        return {f"d{name}": p.grad if p else None for name, p in parameters}

    def _options(self, suffix: str, lengths: Array | None) -> dict[str, Any]:
        return {"lengths": lengths, "reverse": _is_reverse(suffix)}

    def _step_tap(self, suffix: str, tap: Any) -> Any:
        """Return what shows each step to a listener, as (batch, time, d_hidden) up to that step."""
        if not self.is_listened_to(*(name + suffix for name in self.STEP_TAPS)):
            return None
        return lambda name, array, t: tap(name + suffix, array.swapaxes(0, 1))[:, t]

    # --- what does not fit ------------------------------------------------------------------------

    def _checked(self, x: Array, state: States | None) -> States:
        self._check_array(x)
        if x.ndim != 3 or x.shape[-1] != self.d_in:
            raise ValueError(
                f"{self._where()}: expected an input of shape (batch, time, {self.d_in}), "
                f"got {x.shape}."
            )
        return self._checked_states(x, state, "expected a state")

    def _checked_states(self, x: Array, state: States | None, expected: str) -> States:
        shape = (self.n_layers * self.num_directions, len(x), self.d_hidden)
        if state is None:
            return (np.zeros(shape, x.dtype),) * self.STATES
        shapes = [np.shape(states) for states in state]
        if shapes != [shape] * self.STATES:
            arrays = "one array" if self.STATES == 1 else f"{self.STATES} arrays"
            raise ValueError(
                f"{self._where()}: {expected} of {arrays} of shape {shape}, in a tuple, "
                f"got {shapes}."
            )
        return tuple(np.asarray(states).astype(x.dtype, copy=False) for states in state)


class Pass(NamedTuple):
    """What one layer read in one direction, and what its operation kept."""

    read: Array
    kept: list[Array]

    def __repr__(self) -> str:
        return short_repr(self)


class Read(NamedTuple):
    """What a recurrent layer keeps of a forward pass."""

    shape: tuple[int, ...]
    lengths: Array | None
    passes: list[Pass]

    def __repr__(self) -> str:
        return short_repr(self)


def _is_reverse(suffix: str) -> bool:
    return suffix.endswith("_reverse")


def _swapped(x: Array) -> Array:
    """Copy (batch, time, ...) to (time, batch, ...), or the other way."""
    swapped = x.swapaxes(0, 1)
    copy = ops.empty(swapped.shape, x.dtype)
    copy[...] = swapped
    return copy


def _joined(outputs: list[Array]) -> Array:
    """Put the outputs of both directions side by side."""
    if len(outputs) == 1:
        return outputs[0]
    shape = (*outputs[0].shape[:-1], sum(y.shape[-1] for y in outputs))
    return np.concatenate(outputs, axis=-1, out=ops.empty(shape, outputs[0].dtype))

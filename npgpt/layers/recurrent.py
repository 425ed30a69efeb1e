"""Recurrent networks over whole sequences: Elman's, gated recurrent units, and the LSTM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from npgpt import ops
from npgpt.layers.core.init import Init, Rng, Unfilled, uniform
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.dropout import Dropout

Array = np.ndarray
States = tuple[Array, ...]

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
NONLINEARITIES = ("tanh", "relu")


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
        for name, size in (("d_in", d_in), ("d_hidden", d_hidden), ("n_layers", n_layers)):
            if size < 1:
                raise ValueError(f"{type(self).__name__}: {name} must be at least 1, got {size}.")
        self.d_in, self.d_hidden, self.n_layers = d_in, d_hidden, n_layers
        self.num_directions = 2 if bidirectional else 1
        self.IN_STEPS = not bidirectional
        if init is None:
            init = Init(seed, dtype)
            init.rng = rng if isinstance(rng, Unfilled) else np.random.default_rng(rng)
        most = 1.0 / math.sqrt(d_hidden)
        for place, suffix in enumerate(self._suffixes()):
            d_read = d_in if place < self.num_directions else self.num_directions * d_hidden
            for name, columns in (("weight_ih", d_read), ("weight_hh", d_hidden)):
                value = uniform(init.rng, (self.PARTS * d_hidden, columns), most, init.dtype)
                setattr(self, name + suffix, Parameter(value))
            for name in ("bias_ih", "bias_hh"):
                value = np.zeros(self.PARTS * d_hidden, init.dtype)
                setattr(self, name + suffix, Parameter(value) if bias else None)
        self.dropouts: list[Dropout] = [init.dropout(dropout) for _ in range(n_layers - 1)]
        self.TAPS = (*(tap + end for end in self._suffixes() for tap in self.STEP_TAPS), "output")

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
        lengths = self._checked_lengths(x, lengths)
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

    def _suffixes(self) -> list[str]:
        return [
            f"_l{layer}{direction}"
            for layer in range(self.n_layers)
            for direction in ("", "_reverse")[: self.num_directions]
        ]

    def _directions(self, layer: int) -> list[tuple[int, str]]:
        """List the place in a state, and the end of the weights' names, of a layer's directions."""
        begin = layer * self.num_directions
        return list(enumerate(self._suffixes()))[begin : begin + self.num_directions]

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

    def _checked_lengths(self, x: Array, lengths: Array | Sequence[int] | None) -> Array | None:
        if lengths is None:
            return None
        lengths, (batch, time, _) = np.asarray(lengths), x.shape
        if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"{self._where()}: expected lengths of shape ({batch},), whole numbers, "
                f"got {lengths.dtype} of shape {lengths.shape}."
            )
        if batch and not 0 <= lengths.min() <= lengths.max() <= time:
            raise ValueError(
                f"{self._where()}: lengths must be from 0 to the time, {time}, "
                f"got {lengths.tolist()}."
            )
        return lengths.astype(np.int64)


class Pass(NamedTuple):
    """What one layer read in one direction, and what its operation kept."""

    read: Array
    kept: list[Array]


class Read(NamedTuple):
    """What a recurrent layer keeps of a forward pass."""

    shape: tuple[int, ...]
    lengths: Array | None
    passes: list[Pass]


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


class RNN(Recurrent):
    """Elman's recurrent network (Elman 1990, Cognitive Science 14).

    ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``: what has been read is remembered in one
    vector, the hidden state. Names, shapes and order of the weights are those of
    ``torch.nn.RNN``.

    Parameters
    ----------
    d_in, d_hidden : int
    n_layers : int
        Each layer reads the states of the one below.
    bidirectional : bool
        Whether each layer also reads from the end, with weights of its own (Schuster and Paliwal
        1997, IEEE Trans. Signal Processing 45(11)).
    dropout : float
        Probability, of what one layer reads of another.
    rng : numpy.random.Generator or int, optional
        Source of the initial weights, which are even between ``-1/sqrt(d_hidden)`` and
        ``1/sqrt(d_hidden)``. Biases start at 0.
    dtype : dtype
    nonlinearity : {"tanh", "relu"}
    bias : bool
    seed : int
        Of the dropout masks.
    init : Init, optional
        In a model: where weights, dtype and dropout streams come from, in the place of ``rng``,
        ``dtype`` and ``seed``.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (d_hidden, d_in), (d_hidden, d_hidden)
        And ``_l1`` and so on, of shape (d_hidden, directions * d_hidden) and (d_hidden, d_hidden);
        with ``_reverse`` behind, those of the way back.
    bias_ih_l0, bias_hh_l0 : Parameter, shape (d_hidden,), or None

    Raises
    ------
    ValueError
        If a size is below 1, ``dropout`` outside [0, 1), or there is no such nonlinearity.

    Notes
    -----
    Taps: ``hidden_l0`` and so on, (batch, time, d_hidden), and ``output``. A listener sees an array
    after each step, made as far as the steps have come; what it returns at the step's position is
    what the next step reads.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> rnn = npgpt.layers.RNN(3, 4, rng=0)
    >>> y, (h,) = rnn.forward(np.ones((2, 5, 3), np.float32))
    >>> y.shape, h.shape, bool((y[:, -1] == h[0]).all())
    ((2, 5, 4), (1, 2, 4), True)
    """

    op = "rnn"
    PARTS = 1
    STEP_TAPS = ("hidden",)

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
        nonlinearity: str = "tanh",
        bias: bool = True,
        seed: int = 0,
        init: Init | None = None,
    ):
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"RNN: nonlinearity must be one of {', '.join(NONLINEARITIES)}, "
                f"got {nonlinearity!r}."
            )
        super().__init__(
            d_in, d_hidden, n_layers, bidirectional, dropout, rng, dtype,
            bias=bias, seed=seed, init=init,
        )  # fmt: skip
        self.nonlinearity = nonlinearity

    def _options(self, suffix: str, lengths: Array | None) -> dict[str, Any]:
        return {**super()._options(suffix, lengths), "nonlinearity": self.nonlinearity}


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014, arXiv 1406.1078), in PyTorch's form.

    With ``a = W_ih x_t + b_ih`` and ``b = W_hh h_{t-1} + b_hh``, each cut in three:
    ``r = sigmoid(a_r + b_r)``, ``z = sigmoid(a_z + b_z)``, ``n = tanh(a_n + r b_n)`` and
    ``h_t = (1 - z) n + z h_{t-1}``. The update gate z keeps what is remembered, the reset gate r
    says how much of it makes what is new.

    Parameters
    ----------
    d_in, d_hidden, n_layers, bidirectional, dropout, rng, dtype, bias, seed, init
        As of `RNN`.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        As of `RNN`, each with ``3 * d_hidden`` rows: reset, update, candidate.

    Notes
    -----
    Taps of each layer and direction: ``reset_gate_l0``, ``update_gate_l0``, ``candidate_l0``,
    ``hidden_l0``, as `RNN` has them; and ``output``.
    """

    op = "gru"
    PARTS = 3
    STEP_TAPS = ("reset_gate", "update_gate", "candidate", "hidden")


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, Neural Computation 9(8)).

    With ``a = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh``, cut in four: ``i = sigmoid(a_i)``,
    ``f = sigmoid(a_f)``, ``g = tanh(a_g)``, ``o = sigmoid(a_o)``; ``c_t = f c_{t-1} + i g`` and
    ``h_t = o tanh(c_t)``. The cell is added to, not multiplied with a matrix: while f is near 1,
    what is in it stays, and so does its gradient.

    Parameters
    ----------
    d_in, d_hidden, n_layers, bidirectional, dropout, rng, dtype, bias, seed, init
        As of `RNN`.
    forget_bias : float
        What ``bias_ih`` of the forget gate starts from; 1 lets the cell remember from the
        beginning (Gers, Schmidhuber and Cummins 2000, Neural Computation 12(10); Jozefowicz,
        Zaremba and Sutskever 2015, ICML). Without biases it has no place.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        As of `RNN`, each with ``4 * d_hidden`` rows: input, forget, candidate, output.

    Notes
    -----
    Taps of each layer and direction: ``input_gate_l0``, ``forget_gate_l0``, ``candidate_l0``,
    ``output_gate_l0``, ``cell_l0``, ``hidden_l0``, as `RNN` has them; and ``output``.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> lstm = npgpt.layers.LSTM(3, 4, n_layers=2, rng=0)
    >>> y, state = lstm.forward(np.ones((2, 5, 3), np.float32), lengths=[5, 2])
    >>> dx, dstate = lstm.backward(np.ones_like(y))
    >>> dx.shape, [d.shape for d in dstate], float(abs(y[1, 2:]).max())
    ((2, 5, 3), [(2, 2, 4), (2, 2, 4)], 0.0)
    """

    op = "lstm"
    PARTS = 4
    STATES = 2
    STEP_TAPS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")

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
        forget_bias: float = 1.0,
        bias: bool = True,
        seed: int = 0,
        init: Init | None = None,
    ):
        super().__init__(
            d_in, d_hidden, n_layers, bidirectional, dropout, rng, dtype,
            bias=bias, seed=seed, init=init,
        )  # fmt: skip
        if bias:
            for suffix in self._suffixes():
                getattr(self, "bias_ih" + suffix).value[d_hidden : 2 * d_hidden] = forget_bias

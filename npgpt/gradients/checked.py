"""What `gradcheck` checks: a pair of functions or a layer, with its float arrays by name."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from npgpt.gradients.promises import (
    Unchanged,
    arrays_kept,
    arrays_nobody_lists,
    constants_of,
    matters,
    misfit,
    same,
)
from npgpt.layers import Layer
from npgpt.layers.core.layer import Passes
from npgpt.layers.core.progress import Progress

SAME = 1e-9  # of the largest number: rounding of sums that are made twice

Arrays = dict[str, np.ndarray]


class Checked(abc.ABC):
    """A forward and a backward pass, in float64.

    Attributes
    ----------
    name : str
    arrays : dict of str to ndarray
        What is differentiated by: float inputs, parameters.
    faults : list of str
        Promises that were found broken, each a sentence without its end.
    notes : list of str
        What the check could not see.
    """

    def __init__(self, name: str, inputs: tuple[Any, ...]):
        self.name = name
        self.inputs = [_as_float64(x) for x in inputs]
        names = [f"input {i}" for i in range(len(inputs))]
        self.arrays: Arrays = {
            name: x for name, x in zip(names, self.inputs, strict=True) if x.dtype.kind == "f"
        }
        self.input_names = list(self.arrays)
        self.faults: list[str] = []
        self.notes: list[str] = []
        for i, x in enumerate(self.inputs):
            if x.dtype.kind != "f":
                self.notes.append(f"input {i} holds no floats and is a constant")
            elif 1 in x.shape:
                self.notes.append(
                    f"axis {x.shape.index(1)} of input {i} has size 1, so a sum over it that is "
                    "missing changes nothing"
                )

    @abc.abstractmethod
    def forward(self, arrays: Arrays, complex_step: bool = False) -> Any:
        """Compute the output at other values of `arrays`.

        Parameters
        ----------
        arrays : dict of str to ndarray
            As `arrays`, of the same names and shapes.
        complex_step : bool
            Whether some of them are complex, moved by an imaginary step.
        """

    @abc.abstractmethod
    def gradients(self, r: Any) -> Arrays:
        """Run backward, and note what is wrong beside the numbers."""

    def output(self) -> Any:
        """Compute the output, twice, and note what is wrong beside the numbers."""
        first = self._forward_watched()
        if isinstance(first, tuple | list):
            raise TypeError(
                f"gradcheck: the forward of {self.name} must return one array, got a "
                f"{type(first).__name__} of {len(first)}."
            )
        self._handed_out = Unchanged({"the output": first})
        if not same(self._forward_watched(), first):
            self._blame("forward", "gives another output when called again")
        return first

    def finish(self) -> None:
        """Note whether the output is still what it was when forward is called at other values."""
        self.forward({name: 1.01 * x for name, x in self.arrays.items()})
        if self._handed_out.changed():
            self._blame("forward", "changes an output that it gave before")

    def inputs_at(self, arrays: Arrays) -> list[np.ndarray]:
        """Return arguments of forward, which may do with them what it likes."""
        return [arrays.get(f"input {i}", x).copy() for i, x in enumerate(self.inputs)]

    @abc.abstractmethod
    def _forward_watched(self) -> Any:
        """Run forward, and note what it changes."""

    def _blame(self, which: str, what: str) -> None:
        fault = f"{which} {what}"
        if fault not in self.faults:
            self.faults.append(fault)

    def _blame_changes(self, which: str, *watched: Unchanged) -> None:
        for arrays in watched:
            for name in arrays.changed():
                self._blame(which, f"changes {name} in place")

    def _of_inputs(self, gradients: Any) -> Arrays:
        """Name the gradients of the inputs; leave those out that cannot be compared."""
        gradients = () if gradients is None else gradients
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        if len(gradients) == len(self.inputs) > len(self.input_names):
            floats = [x.dtype.kind == "f" for x in self.inputs]
            if all(
                g is None for g, is_float in zip(gradients, floats, strict=True) if not is_float
            ):
                gradients = tuple(g for g, keep in zip(gradients, floats, strict=True) if keep)
        if len(gradients) != len(self.input_names):
            raise ValueError(
                f"gradcheck: the backward of {self.name} returned {len(gradients)} gradients for "
                f"{len(self.input_names)} float inputs."
            )
        return self._fitting(dict(zip(self.input_names, gradients, strict=True)))

    def _fitting(self, gradients: dict[str, Any]) -> Arrays:
        fitting = {}
        for name, gradient in gradients.items():
            wrong = misfit(gradient, self.arrays[name], name)
            if wrong is None:
                fitting[name] = np.array(gradient)
            elif wrong not in self.faults:
                self.faults.append(wrong)
        return fitting

    def _compare_calls(self, first: Arrays, second: Arrays, before: Arrays) -> None:
        """Compare two calls of backward: inputs have the same gradients, parameters added ones."""
        for name in first.keys() & second.keys():
            begun = before.get(name)
            expected = first[name] if begun is None else first[name] + begun
            if _close(second[name], expected):
                continue
            if begun is not None and _close(second[name], first[name]):
                self._blame("backward", f"overwrites the gradient of {name}, which it must add to")
            else:
                self._blame("backward", f"gives another gradient of {name} when called again")


class CheckedFunction(Checked):
    """A forward/backward pair of functions."""

    def __init__(
        self, forward: Callable[..., Any], inputs: tuple[Any, ...], backward: Callable | None
    ):
        if backward is None:
            raise ValueError("gradcheck: a function needs its backward, given as backward=.")
        super().__init__(getattr(forward, "__name__", "function"), inputs)
        self._forward, self._backward = forward, backward

    def forward(self, arrays: Arrays, complex_step: bool = False) -> Any:
        """Compute the output at other values of the inputs.

        Parameters
        ----------
        arrays, complex_step
            As for `Checked.forward`.
        """
        return self._forward(*self.inputs_at(arrays))

    def gradients(self, r: Any) -> Arrays:
        """Run backward twice."""
        results = []
        for _ in range(2):
            dy, inputs = np.copy(r), self.inputs_at(self.arrays)
            watched = Unchanged({"dy": dy, **{f"input {i}": x for i, x in enumerate(inputs)}})
            results.append(self._of_inputs(self._backward(dy if dy.ndim else r, *inputs)))
            self._blame_changes("backward", watched)
        self._compare_calls(results[0], results[1], before={})
        return results[0]

    def _forward_watched(self) -> Any:
        inputs = self.inputs_at(self.arrays)
        watched = Unchanged({f"input {i}": x for i, x in enumerate(inputs)})
        y = self._forward(*inputs)
        self._blame_changes("forward", watched)
        return y


class CheckedLayer(Checked):
    """A copy of a layer, without listeners and without what it kept."""

    def __init__(self, layer: Layer, inputs: tuple[Any, ...]):
        super().__init__(type(layer).__name__, inputs)
        self._layer = unsaved_copy(layer).astype(np.float64)
        self._complex_layer: Layer | None = None
        self._passed: list[np.ndarray] = []  # to the last forward pass
        self.arrays.update(self._layer.state_dict())
        self._parameters = dict(self._layer.named_parameters())
        self._trained = {name: p for name, p in self._parameters.items() if p.requires_grad}
        self._look_for_what_nobody_lists(constants_of(layer))

    def _look_for_what_nobody_lists(self, constants: set[str]) -> None:
        for path, what, array in list(arrays_nobody_lists(self._layer)):
            if path in constants:
                continue
            if array is None or matters(array, lambda: self.forward(self.arrays)):
                self._blame(path, what)
        self._layer.forget()
        for name, parameter in self._parameters.items():
            if not parameter.requires_grad:
                self.notes.append(f"{name} is frozen and has no gradient")
            elif (
                parameter.size > 1
                and np.ptp(parameter.value) == 0
                and parameter.value.flat[0] in (0, 1)
            ):
                self.notes.append(
                    f"{name} is {parameter.value.flat[0]:.0f} everywhere, which may hide a "
                    "forgotten factor or term"
                )
        for where, inner in self._layer.named_layers():
            for name in type(inner).BUFFERS:
                path = f"{where}.{name}" if where else name
                self.notes.append(f"{path} is a buffer and has no gradient")

    def forward(self, arrays: Arrays, complex_step: bool = False) -> Any:
        """Compute the output at other values of inputs and parameters.

        Parameters
        ----------
        arrays, complex_step
            As for `Checked.forward`.
        """
        layer = self._complex() if complex_step else self._layer
        for name, parameter in layer.named_parameters():
            parameter.value = arrays[name].astype(parameter.value.dtype, copy=False)
        inputs = self.inputs_at(arrays)
        if complex_step:
            inputs = [x.astype(np.complex128) if x.dtype.kind == "f" else x for x in inputs]
        self._passed = inputs
        progress = Progress(layer)
        y = getattr(layer, "loss", layer.forward)(*inputs)
        if layer is self._layer:
            self._forward_left = Progress(layer)
        progress.restore()  # the next forward pass draws the same masks
        return y

    def _complex(self) -> Layer:
        if self._complex_layer is None:
            self._complex_layer = unsaved_copy(self._layer).astype(np.complex128)
        return self._complex_layer

    def _forward_watched(self) -> Any:
        parameters = {name: self.arrays[name].copy() for name in self._parameters}
        y = self.forward(self.arrays)
        for i, (passed, x) in enumerate(zip(self._passed, self.inputs, strict=True)):
            if not same(passed, x):
                self._blame("forward", f"changes input {i} in place")
        self._blame_parameters("forward", parameters)
        return y

    def _blame_parameters(self, which: str, before: Arrays) -> None:
        for name, parameter in self._parameters.items():
            if not same(parameter.value, before[name]):
                self._blame(which, f"changes the parameter {name}")
                self.arrays[name] = parameter.value = before[name].copy()

    def gradients(self, r: Any) -> Arrays:
        """Run backward twice: after `Layer.zero_grad`, and beside gradients that are there."""
        rng = np.random.default_rng(0)
        for parameter in self._trained.values():
            parameter.grad[...] = rng.standard_normal(parameter.shape)  # what is left from before
        self._layer.zero_grad()
        first = self._gradients_of_a_call(r)
        before = {}
        for name, parameter in self._trained.items():
            size = np.max(np.abs(first[name]), initial=1e-3) if name in first else 1.0
            before[name] = size * rng.standard_normal(parameter.shape)
            parameter.grad = before[name].copy()
        undone = any(isinstance(inner.saved, Passes) for inner in self._layer.layers())
        self._compare_calls(first, self._gradients_of_a_call(r, forward=undone), before)
        return first

    def _gradients_of_a_call(self, r: Any, forward: bool = True) -> Arrays:
        if forward:
            self.forward(self.arrays)
        progress = Progress(self._layer)
        self._forward_left.restore()  # backward begins where forward ended
        dy = np.copy(r)
        watched = Unchanged({"dy": dy, **{f"input {i}": x for i, x in enumerate(self._passed)}})
        kept = Unchanged(arrays_kept(self._layer))
        parameters = {name: self.arrays[name].copy() for name in self._parameters}
        of_inputs = self._of_inputs(self._layer.backward(dy if dy.ndim else r))
        if forward:
            changed = watched.changed()
            self._blame_changes("backward", watched)
            if not any(name.startswith("input") for name in changed):  # which may be what was kept
                self._blame_changes("backward", kept)
        progress.restore()
        self._blame_parameters("backward", parameters)
        return {**of_inputs, **self._fitting({n: p.grad for n, p in self._trained.items()})}


def unsaved_copy(layer: Any) -> Any:
    """Copy a layer without what its forward passes saved and without listeners."""
    kept = [(inner, inner.saved, inner.listener) for inner in layer.layers()]
    for inner, _, _ in kept:
        inner.saved = inner.listener = None
    try:
        return copy.deepcopy(layer)
    finally:
        for inner, saved, listener in kept:
            inner.saved, inner.listener = saved, listener


def _as_float64(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    scale = max(np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0))
    return bool(np.all(np.isnan(a) & np.isnan(b) | (np.abs(a - b) <= SAME * scale)))

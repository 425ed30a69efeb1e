"""Compare a backward pass with the derivative of its forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.gradients.report import ArrayCheck, GradcheckReport
from npgpt.layers import Dropout, Layer

TOLERANCES = {"central": 1e-6, "complex": 1e-11}
CENTRAL_STEP = float(np.cbrt(np.finfo(np.float64).eps))  # balances truncation and rounding
COMPLEX_STEP = 1e-20  # its square vanishes beside 1, and nothing is subtracted
SMALLEST_SCALE = 1e-2  # of the largest gradient, r included: smaller arrays are mostly rounding
DIRECTIONS = 2


def gradcheck(
    layer: Layer | Callable[..., Any],
    *inputs: Any,
    method: str = "central",
    backward: Callable[..., Any] | None = None,
    tolerance: float | None = None,
    max_coordinates: int = 100,
    seed: int = 0,
) -> GradcheckReport:
    """Check that backward computes the derivative of forward.

    The output ``y`` is made a number, ``L = sum(r * y)`` with a random ``r``; ``backward(r)`` must
    give the derivative of ``L`` by every element of every input and parameter. Of an array with
    more than ``max_coordinates`` elements a random sample is compared, and always two derivatives
    along random directions, which involve all elements.

    Parameters
    ----------
    layer : Layer or function
        A layer (a model that has a ``loss`` is checked through it), or a function from ``inputs``
        to an array, with ``backward`` given too. A layer is copied and converted to float64;
        dropout draws the same mask every time.
    *inputs : array_like
        Arguments of forward. Integers (token ids, targets) are constants.
    method : {"central", "complex"}
        ``"central"``: ``(L(x + h) - L(x - h)) / 2h``, good to about 1e-9.
        ``"complex"``: ``Im L(x + ih) / h``, exact to rounding (Squire and Trapp 1998, SIAM Review
        40(1)), with the reference operations, which accept complex numbers. In both, the gradient
        under test comes from the backend in use.
    backward : function, optional
        For a function: ``backward(dy, *inputs)`` returns the gradient of each float input, a tuple
        if there are several.
    tolerance : float, optional
        Largest relative error that passes; 1e-6 for central, 1e-11 for complex. Relative to the
        largest gradient in the same array, though at least to 1/100 of the largest in any array or
        in ``r``.
    max_coordinates : int
    seed : int
        Of ``r``, the sample and the directions.

    Returns
    -------
    GradcheckReport
        For each array the largest error, where it is, and both values.

    Raises
    ------
    ValueError
        If the method is unknown, or a function comes without ``backward``.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> layer = npgpt.layers.LayerNorm(5)
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 5))
    >>> npgpt.gradcheck(layer, x, method="complex").passed
    True
    """
    if method not in TOLERANCES:
        raise ValueError(f"gradcheck: method must be 'central' or 'complex', got {method!r}.")
    # a stream of its own: inputs drawn with the same seed must not equal r
    rng = np.random.default_rng([seed, 0x67726164])
    check: _CheckedLayer | _CheckedFunction
    if isinstance(layer, Layer):
        check = _CheckedLayer(layer, inputs)
    else:
        check = _CheckedFunction(layer, inputs, backward)
    y = check.forward(check.arrays)
    r = rng.standard_normal(np.shape(y))
    analytic = check.gradients(r)

    results = []
    differentiate = _central_derivative if method == "central" else _complex_derivative
    for name, gradient in analytic.items():
        directions = rng.standard_normal((DIRECTIONS, *gradient.shape))
        changes = [(f"direction {i}", direction) for i, direction in enumerate(directions)]
        for index in _sample_indices(gradient.shape, max_coordinates, rng):
            unit = np.zeros(gradient.shape)
            unit[index] = 1.0
            changes.append((str(list(map(int, index))), unit))
        results.append(
            [
                (where, float(np.sum(gradient * change)), differentiate(check, name, change, r))
                for where, change in changes
            ]
        )

    scales = [max(abs(number) for row in rows for number in row[1:]) for rows in results]
    smallest = SMALLEST_SCALE * max(*scales, float(np.max(np.abs(r))))
    checks = [
        _worst(name, gradient.shape, rows, max(scale, smallest))
        for (name, gradient), rows, scale in zip(analytic.items(), results, scales, strict=True)
    ]
    chosen = TOLERANCES[method] if tolerance is None else tolerance
    return GradcheckReport(check.name, method, chosen, checks)


def _worst(name, shape, rows, scale) -> ArrayCheck:
    errors = [abs(analytic - numeric) / scale for _, analytic, numeric in rows]
    # nan is the worst error of all, and the report's "error <= tolerance" is false for it
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    where, analytic, numeric = rows[worst]
    return ArrayCheck(name, shape, len(rows), float(errors[worst]), where, analytic, numeric)


def _sample_indices(shape, max_coordinates, rng):
    size = int(np.prod(shape))
    flat = np.arange(size)
    if size > max_coordinates:
        flat = np.sort(rng.choice(size, max_coordinates, replace=False))
    return [tuple(np.unravel_index(i, shape)) for i in flat]


def _central_derivative(check, name, change, r) -> float:
    x = check.arrays[name]
    h = CENTRAL_STEP * max(1.0, float(np.max(np.abs(x), initial=0.0)))
    above = check.forward({**check.arrays, name: x + h * change})
    below = check.forward({**check.arrays, name: x - h * change})
    return float(np.sum(r * (above - below))) / (2.0 * h)


def _complex_derivative(check, name, change, r) -> float:
    x = check.arrays[name]
    with ops.use("reference"):
        y = check.forward({**check.arrays, name: x + 1j * COMPLEX_STEP * change}, complex_step=True)
    return float(np.sum(r * np.imag(y))) / COMPLEX_STEP


class _CheckedFunction:
    """A forward/backward pair of functions, with its float inputs by name."""

    def __init__(self, forward, inputs, backward):
        if backward is None:
            raise ValueError("gradcheck: a function needs its backward, given as backward=.")
        self.name = getattr(forward, "__name__", "function")
        self._forward, self._backward = forward, backward
        self._inputs = [_as_float64(x) for x in inputs]
        self.arrays = {f"input {i}": x for i, x in enumerate(self._inputs) if x.dtype.kind == "f"}

    def _current_inputs(self, arrays):
        return [arrays.get(f"input {i}", x) for i, x in enumerate(self._inputs)]

    def forward(self, arrays, complex_step=False):
        return self._forward(*self._current_inputs(arrays))

    def gradients(self, r):
        names = [name for name in self.arrays if name.startswith("input ")]
        return _by_name(names, self._backward(r, *self._inputs), self.name)


class _CheckedLayer:
    """A float64 copy of a layer, with its float inputs and parameters by name."""

    def __init__(self, layer, inputs):
        self.name = type(layer).__name__
        self._layer = unsaved_copy(layer).astype(np.float64)
        self._complex_layer = None
        self._inputs = [_as_float64(x) for x in inputs]
        self._input_names = [
            f"input {i}" for i, x in enumerate(self._inputs) if x.dtype.kind == "f"
        ]
        self.arrays = {
            name: x
            for name, x in zip(
                (f"input {i}" for i in range(len(inputs))), self._inputs, strict=True
            )
            if name in self._input_names
        }
        self.arrays.update(self._layer.state_dict())

    def _layer_for(self, complex_step):
        if not complex_step:
            return self._layer
        if self._complex_layer is None:
            self._complex_layer = unsaved_copy(self._layer).astype(np.complex128)
        return self._complex_layer

    def forward(self, arrays, complex_step=False):
        layer = self._layer_for(complex_step)
        for name, parameter in layer.named_parameters():
            parameter.value = arrays[name].astype(parameter.value.dtype, copy=False)
        inputs = [arrays.get(f"input {i}", x) for i, x in enumerate(self._inputs)]
        if complex_step:
            inputs = [x.astype(np.complex128) if x.dtype.kind == "f" else x for x in inputs]
        dropouts = [inner for inner in layer.layers() if isinstance(inner, Dropout)]
        steps = [dropout.step for dropout in dropouts]
        y = getattr(layer, "loss", layer.forward)(*inputs)
        for dropout, step in zip(dropouts, steps, strict=True):
            dropout.step = step  # the next forward pass draws the same masks
        return y

    def gradients(self, r):
        self.forward(self.arrays)
        self._layer.zero_grad()
        gradients = _by_name(self._input_names, self._layer.backward(r), self.name)
        trained = ((n, p) for n, p in self._layer.named_parameters() if p.requires_grad)
        gradients.update({name: p.grad for name, p in trained})
        return gradients


def _by_name(names, gradients, what):
    if gradients is None:
        gradients = ()
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    if len(gradients) != len(names):
        raise ValueError(
            f"gradcheck: the backward of {what} returned {len(gradients)} gradients for "
            f"{len(names)} float inputs."
        )
    return dict(zip(names, gradients, strict=True))


def unsaved_copy(layer):
    """Copy a layer without what its forward passes saved and without listeners."""
    kept = [(inner, inner.saved, inner.listener) for inner in layer.layers()]
    for inner in layer.layers():
        inner.saved = inner.listener = None
    try:
        return copy.deepcopy(layer)
    finally:
        for inner, saved, listener in kept:
            inner.saved, inner.listener = saved, listener


def _as_float64(x):
    x = np.asarray(x)
    return x.astype(np.float64) if x.dtype.kind == "f" else x

"""Compare a backward pass with the derivative of its forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.gradients.checked import Checked, CheckedFunction, CheckedLayer
from npgpt.gradients.report import ArrayCheck, GradcheckReport
from npgpt.layers import Layer

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

    What else forward and backward promise is checked too: that they change neither inputs, ``dy``,
    parameters, nor what was kept; that forward gives the same output again; that backward can be
    called again, and then *adds* to the gradients of parameters, which it finds not at zero; that
    gradients have the shape and dtype of their arrays; that no array decides the output which is
    neither an input, nor a `Parameter`, nor named in ``BUFFERS``. A broken promise fails the check.

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
        For each array the largest error, where it is, and both values; which promises were
        broken; and what the check could not see.

    Raises
    ------
    ValueError
        If the method is unknown, a function comes without ``backward``, or backward returns another
        number of gradients than there are inputs of floats.
    TypeError
        If ``layer`` is neither a layer nor a function, or forward returns several arrays.

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
    check: Checked
    if isinstance(layer, type) or not (isinstance(layer, Layer) or callable(layer)):
        raise TypeError(f"gradcheck: expected a layer, or a function, got {layer!r}.")
    if isinstance(layer, Layer):
        check = CheckedLayer(layer, inputs)
    else:
        check = CheckedFunction(layer, inputs, backward)
    y = check.output()
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

    check.finish()

    scales = [max(abs(number) for row in rows for number in row[1:]) for rows in results]
    smallest = SMALLEST_SCALE * max([*scales, float(np.max(np.abs(r), initial=0.0))])
    checks = [
        _worst(name, gradient.shape, rows, max(scale, smallest))
        for (name, gradient), rows, scale in zip(analytic.items(), results, scales, strict=True)
    ]
    chosen = TOLERANCES[method] if tolerance is None else tolerance
    notes = check.notes + [
        f"the gradient of {name} is 0 at these inputs"
        for name, scale in zip(analytic, scales, strict=True)
        if scale == 0.0
    ]
    return GradcheckReport(check.name, method, chosen, checks, check.faults, notes)


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

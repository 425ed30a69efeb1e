"""Stochastic gradient descent: parameter, gradient and velocity in one pass."""

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import compiled_form_of, parallel_kernel

__all__ = ["momentum_update", "sgd_update"]


@parallel_kernel()
def _sgd(value: Array, grad: Array, keep: float, scale: float) -> None:
    for i in prange(value.size):
        value[i] = keep * value[i] - scale * grad[i]


@parallel_kernel()
def _momentum(
    value: Array, grad: Array, velocity: Array, scale: float, l2: float, momentum: float,
    along_grad: float, along_velocity: float,
) -> None:  # fmt: skip
    for i in prange(value.size):
        g = scale * grad[i] + l2 * value[i]
        velocity[i] = momentum * velocity[i] + g
        value[i] -= along_grad * g + along_velocity * velocity[i]


def _flat(value: Array, grad: Array, *kept: Array) -> list[Array] | None:
    """Return all in one axis; None if a reshape would copy what is to be changed in place."""
    if not all(array.flags.c_contiguous for array in (value, *kept)):
        return None
    return [np.ascontiguousarray(array).reshape(-1) for array in (value, grad, *kept)]


@compiled_form_of(reference.sgd_update)
def sgd_update(  # noqa: D103
    value: Array, grad: Array, lr: float, weight_decay: float = 0.0, grad_scale: float = 1.0
) -> None:
    arrays = _flat(value, grad)
    if arrays is None:
        reference.sgd_update(value, grad, lr, weight_decay, grad_scale)
        return
    of_dtype = value.dtype.type
    _sgd(*arrays, of_dtype(1.0 - lr * weight_decay), of_dtype(lr * grad_scale))


@compiled_form_of(reference.momentum_update)
def momentum_update(  # noqa: D103
    value: Array,
    grad: Array,
    velocity: Array,
    momentum: float,
    lr: float,
    weight_decay: float = 0.0,
    grad_scale: float = 1.0,
    nesterov: bool = False,
) -> None:
    arrays = _flat(value, grad, velocity)
    if arrays is None:
        reference.momentum_update(
            value, grad, velocity, momentum, lr, weight_decay, grad_scale, nesterov
        )
        return
    along_grad, along_velocity = (lr, lr * momentum) if nesterov else (0.0, lr)
    numbers = (grad_scale, weight_decay, momentum, along_grad, along_velocity)
    _momentum(*arrays, *(value.dtype.type(number) for number in numbers))

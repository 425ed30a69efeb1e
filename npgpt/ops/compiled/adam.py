"""Adam and AdamW: parameter, gradient and both moments in one pass."""

import math

import numpy as np
from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import compiled_form_of, kernel, parallel_kernel

__all__ = ["adam_update", "adamw_update", "sum_of_squares"]

CHUNK = 16384  # elements per partial sum of squares; fixed, so threads do not change the result


@parallel_kernel()
def _update(
    value: Array, grad: Array, m: Array, v: Array, scale: float, keep: float, l2: float,
    beta1: float, beta2: float, new1: float, new2: float, rate: float, inverse_root_bias: float,
    eps: float,
) -> None:  # fmt: skip
    for i in prange(value.size):
        weight = keep * value[i]
        g = scale * grad[i] + l2 * value[i]
        m[i] = beta1 * m[i] + new1 * g
        v[i] = beta2 * v[i] + new2 * g * g
        value[i] = weight - rate * m[i] / (math.sqrt(v[i]) * inverse_root_bias + eps)


@kernel()
def _sum_of_squares(x: Array) -> float:
    # in a function of its own, or the loop would not vectorise
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@parallel_kernel()
def _sums_of_squares(x: Array, size: int, sums: Array) -> None:
    for chunk in prange(sums.size):
        sums[chunk] = _sum_of_squares(x[chunk * size : (chunk + 1) * size])


def _step(
    value: Array, grad: Array, m: Array, v: Array, step: int, lr: float, beta1: float,
    beta2: float, eps: float, scale: float, keep: float, l2: float,
) -> None:  # fmt: skip
    numbers = (
        scale,
        keep,
        l2,
        beta1,
        beta2,
        1.0 - beta1,
        1.0 - beta2,
        lr / (1.0 - beta1**step),  # the bias corrections, folded into the rate
        1.0 / math.sqrt(1.0 - beta2**step),  # and into the root of v
        eps,
    )
    _update(
        value.reshape(-1),
        np.ascontiguousarray(grad).reshape(-1),
        m.reshape(-1),
        v.reshape(-1),
        *(value.dtype.type(number) for number in numbers),
    )


def _contiguous(*arrays: Array) -> bool:
    # a reshape of anything else would be a copy, and the update in place would be lost
    return all(array.flags.c_contiguous for array in arrays)


@compiled_form_of(reference.adamw_update)
def adamw_update(  # noqa: D103
    value: Array, grad: Array, m: Array, v: Array, step: int, lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float, grad_scale: float = 1.0,
) -> None:  # fmt: skip
    if not _contiguous(value, m, v):
        reference.adamw_update(
            value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, grad_scale
        )
        return
    _step(
        value,
        grad,
        m,
        v,
        step,
        lr,
        beta1,
        beta2,
        eps,
        grad_scale,
        keep=1.0 - lr * weight_decay,
        l2=0.0,
    )


@compiled_form_of(reference.adam_update)
def adam_update(  # noqa: D103
    value: Array, grad: Array, m: Array, v: Array, step: int, lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float, grad_scale: float = 1.0,
) -> None:  # fmt: skip
    if not _contiguous(value, m, v):
        reference.adam_update(
            value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, grad_scale
        )
        return
    _step(value, grad, m, v, step, lr, beta1, beta2, eps, grad_scale, keep=1.0, l2=weight_decay)


@compiled_form_of(reference.sum_of_squares)
def sum_of_squares(x: Array) -> np.floating:  # noqa: D103
    sums = np.empty(-(-x.size // CHUNK), np.float64)
    _sums_of_squares(np.ascontiguousarray(x).reshape(-1), CHUNK, sums)
    return sums.sum()

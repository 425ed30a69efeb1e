"""Adam and AdamW, one parameter at a time, and the sum that clipping needs.

Kingma and Ba 2015 (arXiv 1412.6980, algorithm 1); Loshchilov and Hutter 2019 (arXiv 1711.05101,
algorithm 2).
"""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["adam_update", "adamw_update", "sum_of_squares"]


def adamw_update(
    value: Array, grad: Array, m: Array, v: Array, step: int, lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float, grad_scale: float = 1.0,
) -> None:  # fmt: skip
    """Take one AdamW step in place: decay the weight itself, then the Adam step.

    ``value *= 1 - lr * weight_decay``; ``m`` and ``v`` are running means of the gradient and of
    its square, divided by ``1 - beta^step`` because they began at 0;
    ``value -= lr * m_hat / (sqrt(v_hat) + eps)``.

    Parameters
    ----------
    value, grad, m, v : ndarray, same shape
        ``value``, ``m`` and ``v`` are changed in place.
    step : int
        Counted from 1.
    lr, beta1, beta2, eps, weight_decay : float
    grad_scale : float
        Multiplies ``grad``, which is not changed; clipping by the norm needs no pass of its own.
    """
    value *= 1.0 - lr * weight_decay
    _adam_step(value, grad_scale * grad, m, v, step, lr, beta1, beta2, eps)


def adam_update(
    value: Array, grad: Array, m: Array, v: Array, step: int, lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float, grad_scale: float = 1.0,
) -> None:  # fmt: skip
    """Take one Adam step in place; ``weight_decay`` is added to the gradient (an L2 penalty).

    Parameters
    ----------
    value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, grad_scale
        As in `adamw_update`. ``grad`` is not changed.
    """
    _adam_step(value, grad_scale * grad + weight_decay * value, m, v, step, lr, beta1, beta2, eps)


def _adam_step(
    value: Array, grad: Array, m: Array, v: Array, step: int, lr: float, beta1: float,
    beta2: float, eps: float,
) -> None:  # fmt: skip
    m *= beta1
    m += (1.0 - beta1) * grad
    v *= beta2
    v += (1.0 - beta2) * (grad * grad)
    m_hat = m / (1.0 - beta1**step)  # undoes the bias towards the zero start
    v_hat = v / (1.0 - beta2**step)
    value -= lr * m_hat / (np.sqrt(v_hat) + eps)


def sum_of_squares(x: Array) -> np.floating:
    """Sum the squares of all elements, in float64 (complex128 for complex input).

    Parameters
    ----------
    x : ndarray

    Returns
    -------
    scalar
    """
    wide = np.result_type(x.dtype, np.float64)
    return np.sum(x * x, dtype=wide)

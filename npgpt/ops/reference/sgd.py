"""Stochastic gradient descent, without and with momentum, one parameter at a time.

Sutskever, Martens, Dahl and Hinton 2013 (ICML, section 2), in the form that PyTorch uses.
"""

from npgpt.ops.array import Array

__all__ = ["momentum_update", "sgd_update"]


def sgd_update(
    value: Array, grad: Array, lr: float, weight_decay: float = 0.0, grad_scale: float = 1.0
) -> None:
    """Take one step down the gradient, in place: ``value -= lr * (grad + weight_decay * value)``.

    Parameters
    ----------
    value, grad : ndarray, same shape
        ``value`` is changed.
    lr : float
    weight_decay : float
        Of an L2 penalty.
    grad_scale : float
        Multiplies ``grad``, which is not changed.
    """
    value -= lr * (grad_scale * grad + weight_decay * value)


def momentum_update(
    value: Array,
    grad: Array,
    velocity: Array,
    momentum: float,
    lr: float,
    weight_decay: float = 0.0,
    grad_scale: float = 1.0,
    nesterov: bool = False,
) -> None:
    """Take one step along a running sum of gradients, in place.

    With ``g = grad + weight_decay * value``: ``velocity = momentum * velocity + g``, and
    ``value -= lr * velocity``; Nesterov's form ``value -= lr * (g + momentum * velocity)``.

    Parameters
    ----------
    value, grad, velocity : ndarray, same shape
        ``value`` and ``velocity`` are changed.
    momentum, lr, weight_decay : float
    grad_scale : float
        Multiplies ``grad``, which is not changed.
    nesterov : bool
    """
    g = grad_scale * grad + weight_decay * value
    velocity *= momentum
    velocity += g
    value -= lr * (g + momentum * velocity if nesterov else velocity)

"""Stochastic gradient descent, with momentum or Nesterov's."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from npgpt import ops
from npgpt.fields import check_real
from npgpt.layers import Parameter
from npgpt.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent; with momentum, that of Polyak (1964) or of Nesterov (1983).

    ``velocity = momentum * velocity + grad``, then ``value -= lr * velocity``. Nesterov's form
    looks one step ahead: ``value -= lr * (grad + momentum * velocity)`` (Sutskever, Martens, Dahl
    and Hinton 2013, ICML, section 2, as PyTorch writes it). Without momentum nothing is kept.

    Parameters
    ----------
    parameters, lr
        As for `Optimizer`.
    momentum : float
        Share of the velocity that a step keeps, at least 0 and below 1.
    weight_decay : float
        Added to the gradient as ``weight_decay * value`` (an L2 penalty), for every parameter.
    nesterov : bool

    Attributes
    ----------
    velocity : list of ndarray
        In the parameters' order; empty without momentum.

    Raises
    ------
    ValueError
        If there is no parameter, a number is out of range, or Nesterov's form has no momentum.

    Examples
    --------
    Down the parabola ``value^2``, whose gradient is ``2 value``:

    >>> import numpy as np
    >>> weight = Parameter(np.array([1.0]))
    >>> optimizer = SGD([weight], lr=0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     weight.grad += 2.0 * weight.value
    ...     optimizer.step()
    >>> weight.value.round(3)
    array([0.54])
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(parameters, lr, weight_decay)
        check_real("SGD", momentum=momentum)
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"SGD: momentum must be at least 0 and below 1, got {momentum}.")
        if nesterov and momentum == 0.0:
            raise ValueError("SGD: Nesterov's form needs a momentum above 0.")
        self.momentum, self.nesterov = momentum, nesterov
        self.velocity = self.keep("velocity") if momentum > 0.0 else []

    def update(  # noqa: D102
        self,
        value: np.ndarray,
        grad: np.ndarray,
        *kept: np.ndarray,
        decays: bool,
        grad_scale: float,
    ) -> None:
        if self.momentum == 0.0:
            ops.sgd_update(value, grad, self.lr, self.weight_decay, grad_scale)
            return
        (velocity,) = kept
        ops.momentum_update(
            value,
            grad,
            velocity,
            self.momentum,
            self.lr,
            self.weight_decay,
            grad_scale,
            self.nesterov,
        )

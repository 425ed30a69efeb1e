"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from npgpt import ops
from npgpt.fields import check_real
from npgpt.layers import Parameter
from npgpt.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1).

    ``m`` and ``v`` are running means of the gradient and of its square; a step is
    ``value -= lr * m_hat / (sqrt(v_hat) + eps)``, with both means divided by ``1 - beta^step``
    because they start at zero.

    Parameters
    ----------
    parameters, lr
        As for `Optimizer`.
    betas : (float, float)
        Decay of the two running means.
    eps : float
    weight_decay : float
        Added to the gradient as ``weight_decay * value`` (an L2 penalty), for every parameter.

    Attributes
    ----------
    m, v : list of ndarray
        The running means, in the parameters' order.

    Raises
    ------
    ValueError
        If there is no parameter, or a number is out of range.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr, weight_decay)
        who = type(self).__name__
        if not isinstance(betas, Sequence) or len(betas) != 2:
            raise TypeError(f"{who}: betas must be two numbers, got {betas!r}.")
        check_real(who, beta1=betas[0], beta2=betas[1], eps=eps)
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"{who}: betas must be at least 0 and below 1, got {betas}.")
        if not eps > 0.0:
            raise ValueError(f"{who}: eps must be positive, got {eps}.")
        self.betas, self.eps = betas, eps
        self.m, self.v = self.keep("m"), self.keep("v")

    def update(  # noqa: D102
        self,
        value: np.ndarray,
        grad: np.ndarray,
        *kept: np.ndarray,
        decays: bool,
        grad_scale: float,
    ) -> None:
        (m, v), (beta1, beta2) = kept, self.betas
        decay, step = self.weight_decay, self.step_count
        ops.adam_update(value, grad, m, v, step, self.lr, beta1, beta2, self.eps, decay, grad_scale)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101, alg. 2).

    ``value *= 1 - lr * weight_decay``, then the Adam step. The decay skips parameters whose
    ``decay`` is False: biases and the gains of norms.

    Parameters
    ----------
    parameters, lr, betas, eps, weight_decay
        As for `Adam`. The defaults are those of GPT training rather than PyTorch's.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(  # noqa: D102
        self,
        value: np.ndarray,
        grad: np.ndarray,
        *kept: np.ndarray,
        decays: bool,
        grad_scale: float,
    ) -> None:
        (m, v), (beta1, beta2) = kept, self.betas
        decay, step = self.weight_decay if decays else 0.0, self.step_count
        ops.adamw_update(
            value, grad, m, v, step, self.lr, beta1, beta2, self.eps, decay, grad_scale
        )

"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from npgpt import ops
from npgpt.layers import Layer, Parameter, flat_of


class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1).

    ``m`` and ``v`` are running means of the gradient and of its square; a step is
    ``value -= lr * m_hat / (sqrt(v_hat) + eps)``, with both means divided by ``1 - beta^step``
    because they start at zero.

    Parameters
    ----------
    parameters : iterable of Parameter
        Frozen ones are left out.
    lr : float
        Learning rate; a plain attribute that a schedule sets between steps.
    betas : (float, float)
        Decay of the two running means.
    eps : float
    weight_decay : float
        Added to the gradient as ``weight_decay * value`` (an L2 penalty), for every parameter.

    Attributes
    ----------
    step_count : int
        Steps taken.
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
        who = type(self).__name__
        if isinstance(parameters, Layer):
            raise TypeError(
                f"{who}: expected parameters, got {type(parameters).__name__}; pass "
                "model.parameters()."
            )
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise ValueError(f"{who}: there are no parameters to optimise.")
        if not lr >= 0.0:
            raise ValueError(f"{who}: lr must be at least 0, got {lr}.")
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"{who}: betas must be at least 0 and below 1, got {betas}.")
        if not eps > 0.0:
            raise ValueError(f"{who}: eps must be positive, got {eps}.")
        if not weight_decay >= 0.0:
            raise ValueError(f"{who}: weight_decay must be at least 0, got {weight_decay}.")
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.step_count = 0
        self._flat = flat_of(self.parameters)
        self._flat_m, self.m = self._zeros()
        self._flat_v, self.v = self._zeros()

    def _zeros(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Make a running mean: one array, and each parameter's view of it."""
        if self._flat is None:
            return np.empty(0), [np.zeros_like(parameter.value) for parameter in self.parameters]
        flat = np.zeros_like(self._flat.value)
        views = zip(self._flat.parameters, self._flat.views(flat), strict=True)
        by_parameter = {id(parameter): view for parameter, view in views}
        return flat, [by_parameter[id(parameter)] for parameter in self.parameters]

    def step(self, grad_scale: float = 1.0) -> None:
        """Update every parameter from its gradient.

        Parameters
        ----------
        grad_scale : float
            Multiplies the gradients on the way, as clipping does; the arrays stay as they are.
        """
        self.step_count += 1
        flat = self._flat
        if flat is not None and flat.is_whole():
            value, grad, m, v = flat.value, flat.grad, self._flat_m, self._flat_v
            for part, decays in flat.parts():
                self._update(value[part], grad[part], m[part], v[part], decays, grad_scale)
            return
        for parameter, m, v in zip(self.parameters, self.m, self.v, strict=True):
            self._update(parameter.value, parameter.grad, m, v, parameter.decay, grad_scale)

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def _update(self, value, grad, m, v, decays: bool, grad_scale: float) -> None:
        ops.adam_update(
            value,
            grad,
            m,
            v,
            self.step_count,
            self.lr,
            *self.betas,
            self.eps,
            self.weight_decay,
            grad_scale,
        )

    def state_dict(self) -> dict[str, np.ndarray]:
        """Map ``m.<name>`` and ``v.<name>`` to arrays (not copies), and ``step_count``."""
        arrays = {"step_count": np.array(self.step_count)}
        for parameter, m, v in zip(self.parameters, self.m, self.v, strict=True):
            arrays[f"m.{parameter.name}"] = m
            arrays[f"v.{parameter.name}"] = v
        return arrays

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the state back; parameters must have the names and shapes they had.

        Raises
        ------
        ValueError
            If an array is missing or has another shape; nothing is changed then.
        """
        mine = self.state_dict()
        for name, array in mine.items():
            if name not in arrays or arrays[name].shape != array.shape:
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: {name} is missing or does not have "
                    f"the shape {array.shape}."
                )
        for name, array in mine.items():
            array[...] = arrays[name]
        self.step_count = int(arrays["step_count"])


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

    def _update(self, value, grad, m, v, decays: bool, grad_scale: float) -> None:
        ops.adamw_update(
            value,
            grad,
            m,
            v,
            self.step_count,
            self.lr,
            *self.betas,
            self.eps,
            self.weight_decay if decays else 0.0,
            grad_scale,
        )

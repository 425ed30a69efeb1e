"""Clipping by the global norm (Pascanu, Mikolov and Bengio 2013, arXiv 1211.5063, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from npgpt import ops
from npgpt.fields import check_real
from npgpt.layers import Parameter, flat_of


def grad_norm(parameters: Sequence[Parameter]) -> float:
    """Compute the Euclidean norm of all gradients taken as one vector.

    Parameters
    ----------
    parameters : sequence of Parameter

    Returns
    -------
    float
    """
    if not isinstance(parameters, Sequence):
        raise TypeError(
            "grad_norm: expected a list of parameters, such as model.parameters(), got "
            f"{type(parameters).__name__}."
        )
    flat = flat_of(parameters)
    if flat is not None:
        return math.sqrt(float(ops.sum_of_squares(flat.grad)))
    grads = [parameter.grad for parameter in parameters]  # None of those that are frozen
    return math.sqrt(sum(float(ops.sum_of_squares(grad)) for grad in grads if grad is not None))


def clip_grad_norm(parameters: Sequence[Parameter], max_norm: float) -> float:
    """Scale all gradients so that their global norm is at most ``max_norm``.

    Parameters
    ----------
    parameters : sequence of Parameter
    max_norm : float
        Positive; infinity measures and scales nothing.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    ValueError
        If ``max_norm`` is not positive.
    """
    check_real("clip_grad_norm", max_norm=max_norm)
    if not max_norm > 0.0:
        raise ValueError(f"clip_grad_norm: max_norm must be positive, got {max_norm}.")
    norm = grad_norm(parameters)
    if norm > max_norm:
        for parameter in parameters:
            grad = parameter.grad
            if grad is not None:
                grad *= grad.dtype.type(max_norm / norm)
    return norm

"""All parameters of a model in one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from npgpt.layers.core.init import is_unfilled
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter


class FlatParameters:
    """Parameters moved into one array, and their gradients into another; each becomes a view.

    What goes through all of them, such as the gradient's norm or an optimiser's step, is then one
    pass over contiguous memory. Parameters that weight decay applies to come first.

    Parameters
    ----------
    parameters : iterable of Parameter
        Of one dtype. Their values keep their content, in new memory.

    Attributes
    ----------
    parameters : list of Parameter
        In the order of the arrays.
    value : ndarray, shape (num_parameters,)
        In this order of the parameters; vectors of `npgpt.gradients.flat_weights` have the model's.
    num_decayed : int
        Length of the part that weight decay applies to.
    """

    def __init__(self, parameters: Iterable[Parameter]):
        self.parameters = sorted(parameters, key=lambda parameter: not parameter.decay)
        self.num_decayed = sum(p.size for p in self.parameters if p.decay)
        self.value = np.empty(sum(p.size for p in self.parameters), self.parameters[0].value.dtype)
        self._grad: np.ndarray | None = None
        self._value_views = self.views(self.value)
        self._grad_views: list[np.ndarray] = []
        for parameter, view in zip(self.parameters, self._value_views, strict=True):
            if not is_unfilled(parameter.value):
                view[...] = parameter.value
            parameter.value = view
            parameter.flat = self

    def views(self, flat: np.ndarray) -> list[np.ndarray]:
        """Cut an array of ``value``'s size into views of the parameters' shapes."""
        views, begin = [], 0
        for parameter in self.parameters:
            views.append(flat[begin : begin + parameter.size].reshape(parameter.shape))
            begin += parameter.size
        return views

    @property
    def grad(self) -> np.ndarray:
        """All gradients as one array, (num_parameters,)."""
        for parameter in self.parameters:
            parameter.grad  # noqa: B018  (what nothing was added to becomes zeros)
        assert self._grad is not None
        return self._grad

    def make_grads(self) -> None:
        """Give every parameter its part of the gradients' array, with undefined content."""
        self._grad = np.empty_like(self.value)
        self._grad_views = self.views(self._grad)
        for parameter, view in zip(self.parameters, self._grad_views, strict=True):
            parameter.attach_grad(view)

    def parts(self) -> Iterator[tuple[slice, bool]]:
        """Yield the part that weight decay applies to, and the other: (slice, decays)."""
        if self.num_decayed:
            yield slice(0, self.num_decayed), True
        if self.num_decayed < self.value.size:
            yield slice(self.num_decayed, self.value.size), False

    def is_whole(self) -> bool:
        """Tell whether every parameter's value and gradient still are parts of the arrays."""
        if not self._grad_views:
            self.make_grads()
        return all(
            parameter.value is value
            and value.base is self.value
            and parameter.owns_grad(grad)
            and grad.base is self._grad
            for parameter, value, grad in zip(
                self.parameters, self._value_views, self._grad_views, strict=True
            )
        )


def flat_of(parameters: Sequence[Parameter]) -> FlatParameters | None:
    """Return the flat arrays that hold exactly these parameters, if there are such."""
    flat = parameters[0].flat if parameters else None
    if not isinstance(flat, FlatParameters) or len(flat.parameters) != len(parameters):
        return None
    if any(parameter.flat is not flat for parameter in parameters) or not flat.is_whole():
        return None
    return flat


def flatten_trained(model: Layer) -> None:
    """Give the trained parameters flat arrays of their own, and the frozen ones theirs.

    A gradient array of the frozen ones is never made. Parameters that are apart already, as those
    that LoRA adds are, are not copied.
    """
    frozen = [p for p in model.parameters() if not p.requires_grad]
    for group in (model.trained_parameters(), frozen):
        flat = group[0].flat if group else None
        together = flat is not None and len(flat.parameters) == len(group)
        if group and not (together and all(p.flat is flat for p in group)):
            FlatParameters(group)

"""What holds parameters, directly or in layers inside: their names, gradients and arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from npgpt.fields import did_you_mean
from npgpt.layers.core.parameter import Parameter


class HoldsParameters:
    """The parameters of a layer and of all layers inside it, by their dotted names."""

    def paths(self) -> Iterator[tuple[str, Any]]:
        """Yield (what the names of its parts begin with, layer) for this layer and all inside."""
        yield "", self

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (name, parameter) of those that are attributes, or in a list that is one."""
        for name, attribute in vars(self).items():
            if isinstance(attribute, Parameter):
                yield name, attribute
            elif isinstance(attribute, list):
                for i, item in enumerate(attribute):
                    if isinstance(item, Parameter):
                        yield f"{name}.{i}", item

    def named_parameters(self, trained_only: bool = False) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter); a parameter that is shared comes once, first name."""
        seen = set()
        for path, layer in self.paths():
            for name, parameter in layer.own_parameters():
                if id(parameter) not in seen and (parameter.requires_grad or not trained_only):
                    seen.add(id(parameter))
                    yield dotted(path, name), parameter

    def parameters(self) -> list[Parameter]:
        """List the parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def trained_parameters(self) -> list[Parameter]:
        """List the parameters that are not frozen, each once."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def num_parameters(self, trained_only: bool = False) -> int:
        """Count the numbers in all parameters, or in those that are not frozen."""
        parameters = self.trained_parameters() if trained_only else self.parameters()
        return sum(parameter.size for parameter in parameters)

    def zero_grad(self) -> None:
        """Set every parameter's gradient to zero."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Map each parameter's dotted name to its array (not a copy)."""
        return {name: parameter.value for name, parameter in self.named_parameters()}

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copy arrays into the parameters of the same names.

        Raises
        ------
        ValueError
            If a name is missing or unknown, a shape differs, or numbers are no floats; nothing is
            changed then.
        """
        parameters = dict(self.named_parameters())
        if not isinstance(arrays, Mapping):
            raise TypeError(
                f"{type(self).__name__}.load_state_dict: expected a mapping from names to arrays, "
                f"as state_dict returns, got {type(arrays).__name__}."
            )
        what = f"{type(self).__name__}.load_state_dict"
        missing = [name for name in parameters if name not in arrays]
        if missing:
            raise ValueError(f"{what}: no array for {', '.join(missing)}.")
        unknown = [name for name in arrays if name not in parameters]
        if unknown:
            near = did_you_mean(unknown[0], parameters, most=0)
            raise ValueError(f"{what}: no parameter is named {', '.join(unknown)}{near}")
        for name, parameter in parameters.items():
            if not isinstance(arrays[name], np.ndarray):
                raise TypeError(
                    f"{what}: {name} must be an array, got {type(arrays[name]).__name__}."
                )
            if not np.can_cast(arrays[name].dtype, parameter.value.dtype, "same_kind") or (
                arrays[name].dtype.kind not in "fc"
            ):
                raise ValueError(
                    f"{what}: {name} is {parameter.value.dtype}, the given array is "
                    f"{arrays[name].dtype}."
                )
            if arrays[name].shape != parameter.shape:
                raise ValueError(
                    f"{what}: {name} has shape {parameter.shape}, the given array has "
                    f"{arrays[name].shape}."
                )
        for name, parameter in parameters.items():
            parameter.value[...] = arrays[name]

    def trained_state_dict(self) -> dict[str, np.ndarray]:
        """Map the names of the parameters that are not frozen to their arrays (not copies)."""
        return {
            name: parameter.value
            for name, parameter in self.named_parameters()
            if parameter.requires_grad
        }

    def load_trained_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copy what `trained_state_dict` gave back; frozen parameters stay as they are.

        Raises
        ------
        ValueError
            As `load_state_dict`.
        """
        trained = self.trained_state_dict()
        frozen = {name: a for name, a in self.state_dict().items() if name not in trained}
        both = [name for name in arrays if name in frozen]
        if both:
            raise ValueError(
                f"{type(self).__name__}.load_trained_state_dict: {', '.join(both)} is frozen."
            )
        self.load_state_dict({**frozen, **arrays})


def dotted(*names: str) -> str:
    """Join names with dots, leaving out empty ones."""
    return ".".join(filter(None, names))


def with_spare_grads(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a layer's backward find an array at the gradients of its frozen parameters.

    What it adds there is thrown away, so that a layer need not know which parameters are trained.
    """

    @functools.wraps(backward)
    def wrapped(layer: HoldsParameters, *gradients: Any, **named: Any) -> Any:
        frozen = [p for _, p in layer.own_parameters() if not p.requires_grad and not p.has_spare]
        for parameter in frozen:
            parameter.lend_spare()
        try:
            return backward(layer, *gradients, **named)
        finally:
            for parameter in frozen:
                parameter.take_spare()

    return wrapped

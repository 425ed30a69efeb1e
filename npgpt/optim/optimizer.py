"""What every optimiser is: parameters, what it keeps of each of them, and a rule for a part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from npgpt.fields import check_real
from npgpt.layers import Parameter, flat_of


class Optimizer:
    """Base of optimisers: a subclass says what it keeps, by `keep`, and what it does, by `update`.

    Where the parameters are the parts of flat arrays, as those of a model are, what is kept is flat
    too, and a step is one pass over contiguous memory instead of one for each parameter.

    Parameters
    ----------
    parameters : iterable of Parameter
        Frozen ones are left out.
    lr : float
        Learning rate; a plain attribute that a schedule sets between steps.
    weight_decay : float
        What it means is the subclass's.

    Attributes
    ----------
    parameters : list of Parameter
    step_count : int
        Steps taken.

    Raises
    ------
    TypeError
        If ``parameters`` are something else.
    ValueError
        If there is no parameter, or a number is out of range.

    Examples
    --------
    A rule needs a few lines; this one moves by the gradient's sign:

    >>> import numpy as np
    >>> from npgpt.layers import Parameter
    >>> class SignSGD(Optimizer):
    ...     def update(self, value, grad, *, decays, grad_scale):
    ...         value -= self.lr * np.sign(grad)
    >>> weight = Parameter(np.array([1.0, 2.0]))
    >>> weight.grad[:] = [5.0, -0.1]
    >>> SignSGD([weight], lr=0.5).step()
    >>> weight.value
    array([0.5, 2.5])
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float, weight_decay: float = 0.0):
        who = type(self).__name__
        given = parameters if isinstance(parameters, Iterable) else [parameters]
        self.parameters: list[Parameter] = []
        for parameter in given:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"{who}: parameters such as model.parameters() must come first, got "
                    f"{type(parameter).__name__}."
                )
            if parameter.requires_grad:
                self.parameters.append(parameter)
        if not self.parameters:
            raise ValueError(f"{who}: there are no parameters to optimise.")
        for name, number in (("lr", lr), ("weight_decay", weight_decay)):
            check_real(who, **{name: number})
            if not number >= 0.0:
                raise ValueError(f"{who}: {name} must be at least 0, got {number}.")
        self.lr, self.weight_decay = lr, weight_decay
        self.step_count = 0
        self._flat = flat_of(self.parameters)
        self._kept: dict[str, list[np.ndarray]] = {}
        self._flat_kept: list[np.ndarray] = []

    def keep(self, name: str) -> list[np.ndarray]:
        """Keep an array of each parameter's shape from step to step, zero at first.

        Parameters
        ----------
        name : str
            In `state_dict`, before the parameter's.

        Returns
        -------
        list of ndarray
            In the parameters' order; `update` gets them behind the gradient.
        """
        if self._flat is None:
            kept = [np.zeros_like(parameter.value) for parameter in self.parameters]
        else:
            flat = np.zeros_like(self._flat.value)
            views = zip(self._flat.parameters, self._flat.views(flat), strict=True)
            by_parameter = {id(parameter): view for parameter, view in views}
            kept = [by_parameter[id(parameter)] for parameter in self.parameters]
            self._flat_kept.append(flat)
        self._kept[name] = kept
        return kept

    @property
    def num_kept(self) -> int:
        """Arrays of the parameters' size that are kept from step to step."""
        return len(self._kept)

    def update(
        self,
        value: np.ndarray,
        grad: np.ndarray,
        *kept: np.ndarray,
        decays: bool,
        grad_scale: float,
    ) -> None:
        """Update a part of the parameters in place; ``step_count`` is this step's, from 1.

        Parameters
        ----------
        value, grad, *kept : ndarray, same shape
            One parameter, or many of them in one axis. ``value`` and ``kept`` are changed.
        decays : bool
            Whether these are weights that decay, not biases or the gains of norms.
        grad_scale : float
            To multiply ``grad`` with, which is not changed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method update.")

    def step(self, grad_scale: float = 1.0) -> None:
        """Update every parameter from its gradient.

        Parameters
        ----------
        grad_scale : float
            Multiplies the gradients on the way, as clipping does; the arrays stay as they are.
        """
        self.step_count += 1
        with np.errstate(over="ignore", invalid="ignore"):  # who sees the next loss says it better
            self._update_all(grad_scale)

    def _update_all(self, grad_scale: float) -> None:
        flat = self._flat
        if flat is not None and flat.is_whole():
            arrays = (flat.value, flat.grad, *self._flat_kept)
            for part, decays in flat.parts():
                self.update(*(a[part] for a in arrays), decays=decays, grad_scale=grad_scale)
            return
        for parameter, *kept in zip(self.parameters, *self._kept.values(), strict=True):
            value, grad = parameter.value, parameter.grad
            self.update(value, grad, *kept, decays=parameter.decay, grad_scale=grad_scale)

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Map ``<kept>.<parameter>``, such as ``m.final_norm.gamma``, and ``step_count`` to arrays.

        They are not copies.
        """
        arrays = {"step_count": np.array(self.step_count)}
        for i, parameter in enumerate(self.parameters):
            for name, kept in self._kept.items():
                arrays[f"{name}.{parameter.name}"] = kept[i]
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

    def __repr__(self) -> str:
        size = sum(parameter.size for parameter in self.parameters)
        return f"{type(self).__name__}({size:,} parameters, lr={self.lr:g})"

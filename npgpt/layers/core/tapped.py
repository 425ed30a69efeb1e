"""The arrays that a layer names as it makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npgpt.layers.core.parameters import HoldsParameters, dotted
from npgpt.layers.core.taps import Change, Edit, Guarded, Listener, Listeners, Listening


class HasTaps(HoldsParameters):
    """Names for the arrays on a layer's way forward and back, and who listens to them.

    Attributes
    ----------
    TAPS : tuple of str
        Names of the intermediate arrays that the layer taps, in the order of the forward pass.
    """

    TAPS: tuple[str, ...] = ()

    name: str
    listener: Listener | None
    layers: Callable[..., Iterator[Any]]
    assign_names: Callable[..., None]

    def tap(self, name: str, array: np.ndarray) -> np.ndarray:
        """Name an intermediate array on the way forward; a listener may see or replace it.

        Parameters
        ----------
        name : str
            One of `TAPS`.
        array : ndarray

        Returns
        -------
        ndarray
            What the layer goes on with: ``array``, or what the listener made of it.
        """
        if self.listener is None:
            return array
        return self.listener.on_activation(self._tap_name(name), array)

    def tap_grad(self, name: str, array: np.ndarray) -> np.ndarray:
        """Name an intermediate gradient on the way back; a listener may see or replace it.

        Parameters
        ----------
        name : str
            One of `TAPS`.
        array : ndarray
            The gradient of what `tap` named so.

        Returns
        -------
        ndarray
            What the layer goes on with: ``array``, or what the listener made of it.
        """
        if self.listener is None:
            return array
        return self.listener.on_gradient(self._tap_name(name), array)

    def tap_names(self) -> Iterator[str]:
        """Yield the dotted name of every tap in this layer and all inside it."""
        for path, layer in self.paths():
            for tap in layer.TAPS:
                yield dotted(self.name, path, tap)

    def edit(
        self, name: str, forward: Change | None = None, backward: Change | None = None
    ) -> Edit:
        """Change an activation, or a gradient, inside a ``with`` block.

        Parameters
        ----------
        name : str
            Of a tap, as `tap_names` lists them; ``*`` stands for any characters.
        forward : function, optional
            From the activation to what the model goes on with, of the same shape. It is given a
            copy, which it may change and return. Backward still differentiates the layers as they
            are: what reaches the name on the way back is the gradient of the changed activation.
        backward : function, optional
            From the gradient of that activation, a copy too, to what goes on back.

        Returns
        -------
        Edit
            A context manager, which undoes itself whatever happens in the block.

        Raises
        ------
        ValueError
            If nothing has that name, neither function is given, or one changes the shape.
        TypeError
            If what is given for a function is none.

        Examples
        --------
        >>> import numpy as np
        >>> import npgpt
        >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=2, n_heads=1, d_model=4))
        >>> ids = np.array([[1, 2, 3]])
        >>> with model.edit("blocks.1.attention.output", forward=np.zeros_like):
        ...     ablated = model.forward(ids)
        >>> np.array_equal(ablated, model.forward(ids))
        False
        """
        for which, change in (("forward", forward), ("backward", backward)):
            if change is not None and not callable(change):
                raise TypeError(
                    f"edit: {which} must be a function from an array to an array, got {change!r}; "
                    f"{which}=np.zeros_like puts zeros there."
                )
        if forward is None and backward is None:
            raise ValueError(f"edit: give forward= or backward=, a function that changes {name!r}.")
        return Edit(self, name, forward, backward)

    def is_listened_to(self, *names: str) -> bool:
        """Tell whether somebody wants one of these taps, so that a fused op must be taken apart."""
        return self.listener is not None and any(
            self.listener.wants(self._tap_name(name)) for name in names
        )

    def listen(self, listener: Listener | None) -> None:
        """Send the taps of this layer and all inside it to a listener; None stops that.

        The listener is handed arrays that it cannot write to, and returns them, or others that
        the layer is to go on with.
        """
        if listener is not None:
            self.assign_names()  # a layer may have been put in since
        if listener is not None and not isinstance(listener, Listening | Listeners | Guarded):
            listener = Guarded(listener)
        for layer in self.layers():
            layer.listener = listener

    def _tap_name(self, name: str) -> str:
        return dotted(self.name, name)

"""What every layer has: parameters, the layers inside it, and what forward saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from npgpt.layers.core.parameters import HoldsParameters
from npgpt.layers.core.taps import Change, Edit, Guarded, Listener, Listeners, Listening


class Passes(list):
    """What each of several forward passes of one layer kept, the last one at the end."""


class Layer(HoldsParameters):
    """Base of all layers.

    A layer that is an attribute of another (or in a list that is an attribute) belongs to it:
    parameters, training mode and listener are found by walking the attributes in order. The
    contract:

    - ``forward`` keeps what backward needs with `keep`, and hands out arrays that are the caller's
      to keep;
    - ``backward`` takes the gradient of the last forward's output, *adds* to each parameter's
      ``.grad``, and returns the gradient of forward's input (None for token ids). It changes
      neither ``dy`` nor what was kept, so it can be called again.

    A layer that is called several times in one pass, over time or in several places, is called
    inside `unrolled`: each forward pass is then kept, and each backward undoes the last one left.

    Attributes
    ----------
    TAPS : tuple of str
        Names of the intermediate arrays that the layer taps, in the order of the forward pass.
    UNNAMED : tuple of str
        Attributes that hold a layer whose parts are named as if they were this layer's own.
    BUFFERS : tuple of str
        Attributes that hold arrays which decide the output and are not learned.
    """

    TAPS: tuple[str, ...] = ()
    UNNAMED: tuple[str, ...] = ()
    BUFFERS: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.name = ""  # dotted path inside the model that holds the layer
        self.training = True
        self.listener: Listener | None = None
        self.saved: Any = None  # what forward kept; inside `unrolled` a `Passes`
        self._unrolling = False

    def __call__(self, *inputs):
        """Run `forward`."""
        return self.forward(*inputs)

    def forward(self, *inputs):
        """Compute the output and keep what backward needs."""
        raise TypeError(f"{type(self).__name__} has no forward; a layer must define one.")

    def backward(self, dy):
        """Add to the parameters' gradients and return the gradient of the input."""
        raise TypeError(f"{type(self).__name__} has no backward; a layer must define one.")

    # --- the tree of layers -------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Layer]]:
        """Yield (name, layer) for the layers directly inside this one."""
        for name, attribute in vars(self).items():
            if isinstance(attribute, Layer):
                yield "" if name in self.UNNAMED else name, attribute
            elif isinstance(attribute, list):
                for i, item in enumerate(attribute):
                    if isinstance(item, Layer):
                        yield f"{name}.{i}", item

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield (dotted name, layer) for this layer and all inside it."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_layers(".".join(filter(None, (prefix, name))))

    def layers(self) -> Iterator[Layer]:
        """Yield this layer and all inside it."""
        for _, layer in self.named_layers():
            yield layer

    def replace(self, old: Layer, new: Layer) -> None:
        """Put a layer in the place of another, wherever inside this one that is."""
        for parent in list(self.layers()):
            for name, attribute in vars(parent).items():
                if attribute is old:
                    setattr(parent, name, new)
                elif isinstance(attribute, list):
                    attribute[:] = [new if item is old else item for item in attribute]

    def assign_names(self) -> None:
        """Tell every layer and parameter inside this one its dotted name."""
        for name, layer in self.named_layers():
            layer.name = name
        for name, parameter in self.named_parameters():
            parameter.name = name

    # --- what forward leaves to backward ------------------------------------------------------

    def keep(self, *saved: Any) -> None:
        """Keep what backward of this forward pass needs, in the place of what was kept before."""
        kept = saved[0] if len(saved) == 1 else saved
        if not self._unrolling:
            self.saved = kept
        elif isinstance(self.saved, Passes):
            self.saved.append(kept)
        else:
            self.saved = Passes([kept])

    def recall(self) -> Any:
        """Return what forward kept: one thing, or a tuple of several.

        Of passes that were unrolled it is the last one's that is left, and taken off.

        Raises
        ------
        RuntimeError
            If there is no forward pass that backward could undo.
        """
        if self.saved is None or (isinstance(self.saved, Passes) and not self.saved):
            raise RuntimeError(f"{self._where()}: backward needs a forward pass before it.")
        return self.saved.pop() if isinstance(self.saved, Passes) else self.saved

    @contextlib.contextmanager
    def unrolled(self) -> Iterator[None]:
        """Inside ``with``, keep every forward pass of this layer and all inside it.

        Backward, inside the block or after it, undoes them from the last to the first, each once.
        That differentiates a layer that is applied at each time step (backpropagation through
        time, Werbos 1990, Proc. IEEE 78) or that several places share. A block inside another one
        adds to it; the first one begins anew.

        Examples
        --------
        >>> import numpy as np
        >>> import npgpt
        >>> layer = npgpt.layers.Linear(2, 2, rng=0, dtype=np.float64)
        >>> with layer.unrolled():
        ...     y = layer.forward(layer.forward(np.ones((1, 2))))
        >>> layer.backward(layer.backward(np.ones((1, 2)))).shape
        (1, 2)
        """
        entered = [layer for layer in self.layers() if not layer._unrolling]
        for layer in entered:
            layer._unrolling, layer.saved = True, None
        try:
            yield
        finally:
            for layer in entered:
                layer._unrolling = False

    # --- state --------------------------------------------------------------------------------

    def train(self, training: bool = True):
        """Switch to training (dropout on); returns the layer."""
        for layer in self.layers():
            layer.training = training
        return self

    def eval(self):
        """Switch to evaluation (dropout off); returns the layer."""
        return self.train(False)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside ``with``, evaluation (dropout off); afterwards the mode from before."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    def astype(self, dtype: np.dtype | type):
        """Convert every parameter to a dtype; returns the layer."""
        for parameter in self.parameters():
            parameter.astype(dtype)
        self.forget()
        return self

    def forget(self) -> None:
        """Let go of what forward saved, here and in all layers inside."""
        for layer in self.layers():
            layer.saved = None

    # --- taps ---------------------------------------------------------------------------------

    def tap(self, name: str, array: np.ndarray) -> np.ndarray:
        """Name an intermediate array on the way forward; a listener may see or replace it."""
        if self.listener is None:
            return array
        return self.listener.on_activation(self._tap_name(name), array)

    def tap_grad(self, name: str, array: np.ndarray) -> np.ndarray:
        """Name an intermediate gradient on the way back; a listener may see or replace it."""
        if self.listener is None:
            return array
        return self.listener.on_gradient(self._tap_name(name), array)

    def tap_names(self) -> Iterator[str]:
        """Yield the dotted name of every tap in this layer and all inside it."""
        for layer in self.layers():
            for tap in layer.TAPS:
                yield layer._tap_name(tap)

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
        if listener is not None and not isinstance(listener, Listening | Listeners | Guarded):
            listener = Guarded(listener)
        for layer in self.layers():
            layer.listener = listener

    def _tap_name(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name

    # --- errors that say where ----------------------------------------------------------------

    def _where(self) -> str:
        """What to call this layer in an error: its class, and its place in the model."""
        return f"{type(self).__name__} {self.name!r}" if self.name else type(self).__name__

    def _check_last_axis(self, x: np.ndarray, size: int, what: str) -> None:
        if x.ndim == 0 or x.shape[-1] != size:
            raise ValueError(
                f"{self._where()}: expected an input of shape (..., {size}) ({what} = {size}), "
                f"got {x.shape}."
            )

    def _check_dy(self, dy: np.ndarray, shape: tuple[int, ...]) -> None:
        if dy.shape != shape:
            raise ValueError(
                f"{self._where()}: backward expected dy of the output's shape {shape}, "
                f"got {dy.shape}."
            )

"""What every layer has: parameters, the layers inside it, and what forward saved."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

from npgpt.layers.core.checks import ChecksArrays
from npgpt.layers.core.parameters import dotted, with_spare_grads
from npgpt.layers.core.shown import MADE_BY_INIT, Shown
from npgpt.layers.core.tapped import HasTaps
from npgpt.layers.core.taps import Listener

Same = TypeVar("Same", bound="Layer")

NONE = object()  # what is kept of a forward pass that kept None


class Passes(list):
    """What each of several forward passes of one layer kept, the last one at the end."""


class Layer(Shown, ChecksArrays, HasTaps):
    """Base of all layers.

    A layer that is an attribute of another (or in a list that is an attribute) belongs to it:
    parameters, training mode and listener are found by walking the attributes in order. The
    contract, which is all that a layer of yours needs to stand anywhere in a model:

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
        Attributes that hold a layer without a name: its parts are named as if they were this
        layer's own.
    BUFFERS : tuple of str
        Attributes that hold arrays which decide the output and are not learned.
    CHANGES : tuple of str
        Attributes that a forward pass changes beside ``saved``, such as dropout's step; of a class
        outside this package it may be any, see `npgpt.layers.core.progress`.
    IN_STEPS : bool
        Whether a text can be read through the layer one token after another, because each
        position's output depends on that position alone, or because a state is kept of the others.
        Generation reads the whole text again for each token if a layer of the model says no.
    """

    UNNAMED: tuple[str, ...] = ()
    BUFFERS: tuple[str, ...] = ()
    CHANGES: tuple[str, ...] = ()
    IN_STEPS: bool = False
    is_foreign = False  # defined outside this package
    adds_shortcut = False  # backward takes dshortcut, and adds it to what it returns
    takes_state = False  # forward takes the state of the positions before

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        cls.is_foreign = not cls.__module__.startswith(f"{__package__.partition('.')[0]}.")
        forward, backward = vars(cls).get("forward"), vars(cls).get("backward")
        if inspect.isfunction(forward):
            cls.takes_state = "state" in inspect.signature(forward).parameters
            if cls.is_foreign and "IN_STEPS" not in vars(cls):
                cls.IN_STEPS = False
        if inspect.isfunction(backward):
            cls.adds_shortcut = "dshortcut" in inspect.signature(backward).parameters
            if cls.is_foreign:  # ours hand operations the None that a frozen parameter has
                setattr(cls, "backward", with_spare_grads(backward))  # noqa: B010

    def __init__(self) -> None:
        self.name = ""  # dotted path inside the model that holds the layer
        self.training = True
        self.listener: Listener | None = None
        self.saved: Any = None  # what forward kept; inside `unrolled` a `Passes`
        self._unrolling = False

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Run `forward`."""
        return self.forward(*inputs, **named)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Compute the output and keep what backward needs.

        Parameters
        ----------
        *inputs : ndarray
            Those of a layer that takes a sequence have shape (..., time, features).
        **named
            What else a layer takes, such as a mask.
        """
        raise TypeError(f"{type(self).__name__} has no forward; a layer must define one.")

    def backward(self, *gradients: Any, **named: Any) -> Any:
        """Add to the parameters' gradients and return the gradient of the input.

        Parameters
        ----------
        *gradients : ndarray
            Of each output, of its shape.
        **named
            What else a layer takes, such as ``dshortcut``.
        """
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
        """Yield (dotted name, layer) for this layer and all inside it that have a name.

        A layer without a name, see `UNNAMED`, is left out; its parts are there.
        """
        yield prefix, self
        for path, is_named, layer in self._inside(prefix):
            if is_named:
                yield path, layer

    def layers(self) -> Iterator[Layer]:
        """Yield this layer and all inside it."""
        yield self
        for _, _, layer in self._inside(""):
            yield layer

    def paths(self) -> Iterator[tuple[str, Layer]]:
        """Yield (what the names of its parts begin with, layer), also for those without a name."""
        yield "", self
        for path, _, layer in self._inside(""):
            yield path, layer

    def _inside(self, prefix: str) -> Iterator[tuple[str, bool, Layer]]:
        for name, child in self.children():
            path = dotted(prefix, name)
            yield path, bool(name), child
            yield from child._inside(path)

    def replace(self, old: Layer, new: Layer) -> None:
        """Put a layer in the place of another, wherever inside this one that is.

        The new one takes over name, mode and listener.

        Parameters
        ----------
        old, new : Layer

        Raises
        ------
        ValueError
            If the old one is not inside this layer.
        """
        places = []
        for path, parent in list(self.paths()):
            for name, attribute in list(vars(parent).items()):
                if attribute is old:
                    setattr(parent, name, new)
                    places.append(dotted(path, "" if name in parent.UNNAMED else name))
                elif isinstance(attribute, list):
                    for i, item in enumerate(attribute):
                        if item is old:
                            attribute[i] = new
                            places.append(dotted(path, f"{name}.{i}"))
        if not places:
            raise ValueError(
                f"{type(self).__name__}.replace: there is no such {type(old).__name__} in it; give "
                "the layer itself, such as model.blocks[0].attention_norm."
            )
        new.train(old.training)
        new.name = dotted(self.name, places[0])
        new.assign_names()
        new.listen(old.listener)

    def assign_names(self) -> None:
        """Tell every layer and parameter inside this one its dotted name."""
        root = self.name
        for path, layer in self.paths():
            layer.name = dotted(root, path)
        for name, parameter in self.named_parameters():
            parameter.name = dotted(root, name)  # a shared one has that of its first place

    # --- what forward leaves to backward ------------------------------------------------------

    def keep(self, *saved: Any) -> None:
        """Keep what backward of this forward pass needs, in the place of what was kept before."""
        kept = saved[0] if len(saved) == 1 else saved
        kept = NONE if kept is None else kept
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
        kept = self.saved.pop() if isinstance(self.saved, Passes) else self.saved
        return None if kept is NONE else kept

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

    def train(self: Same, training: bool = True) -> Same:
        """Switch to training (dropout on); returns the layer."""
        for layer in self.layers():
            layer.training = training
        return self

    def eval(self: Same) -> Same:
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

    def astype(self: Same, dtype: np.dtype | type) -> Same:
        """Convert every parameter to a dtype; returns the layer."""
        for parameter in self.parameters():
            parameter.astype(dtype)
        self.forget()
        return self

    def forget(self) -> None:
        """Let go of what forward saved, here and in all layers inside."""
        for layer in self.layers():
            layer.saved = None

    # --- an error that says where -------------------------------------------------------------

    if not TYPE_CHECKING:  # or a type checker would believe every attribute

        def __getattr__(self, name: str) -> Any:
            """Say what is missing when ``__init__`` did not begin with that of this class."""
            kind = type(self).__name__
            hint = (
                ""
                if "_unrolling" in vars(self)
                else "; did its __init__ forget super().__init__()?"
            )
            if name in MADE_BY_INIT:
                raise RuntimeError(
                    f"{kind}: __init__ must call super().__init__() before all else, as it makes "
                    f"{name!r}."
                )
            raise AttributeError(f"{kind} has no attribute {name!r}{hint}")


def does_as(layer: Layer, kind: type[Same]) -> TypeGuard[Same]:
    """Tell whether a layer's forward and backward are those of a kind, not of a class made from it.

    Then an operation that does several layers' work at once may stand for it.

    Parameters
    ----------
    layer : Layer
    kind : type
    """
    own = type(layer)
    return own is kind or (own.forward is kind.forward and own.backward is kind.backward)

"""An array that is learned."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Flat(Protocol):
    """Arrays that hold several parameters and their gradients: `FlatParameters`."""

    parameters: list[Any]

    def make_grads(self) -> None:
        """Give every parameter its part of the gradients' array."""

    def is_whole(self) -> bool:
        """Tell whether every parameter's value and gradient still are parts of the arrays."""


class Parameter:
    """An array that is learned, and the gradient that backward adds into.

    Parameters
    ----------
    value : ndarray
    decay : bool, optional
        Whether weight decay applies. By default it does to matrices and not to vectors (biases,
        gains of norms), as in GPT-2's training.

    Attributes
    ----------
    name : str
        Dotted path in the model, such as ``"blocks.3.attention.qkv.weight"``.
    requires_grad : bool
        Whether the parameter is trained. False freezes it: backward leaves its gradient out, which
        is None then, and optimisers keep no state for it. Operations take that None for "do not
        compute it", so that a layer hands on what it finds.
    flat : FlatParameters or None
        The arrays that hold value and gradient, together with those of other parameters.
    """

    def __init__(self, value: np.ndarray, decay: bool | None = None):
        _check_floats(value)
        self.name = ""
        self.value = value
        self.decay = value.ndim >= 2 if decay is None else decay
        self.requires_grad = True
        self.flat: Flat | None = None
        self._grad: np.ndarray | None = None
        self._nothing_added = True  # since zero_grad: the array's content does not count
        self._spare: np.ndarray | None = None

    @property
    def grad(self) -> np.ndarray | None:
        """Sum of the gradients since `zero_grad`; made, as zeros, when first asked for.

        None for a frozen parameter.
        """
        grad, overwrite = self.grad_to_fill()
        if overwrite and grad is not None:
            grad.fill(0)
        return grad

    @grad.setter
    def grad(self, grad: np.ndarray) -> None:
        if self.requires_grad:
            self._grad, self._nothing_added = grad, False

    @property
    def trained_grad(self) -> np.ndarray:
        """`grad` of a parameter that is trained.

        Raises
        ------
        RuntimeError
            If it is frozen.
        """
        grad = self.grad
        if grad is None:
            raise RuntimeError(f"{self!r} is frozen, so it has no gradient.")
        return grad

    def grad_to_fill(self) -> tuple[np.ndarray | None, bool]:
        """Return the gradient's array, and whether to overwrite it instead of adding.

        After `zero_grad` its content is left over from before. The caller must write all of it
        then: an operation that does so saves the passes that clear the array and add to it. A
        frozen parameter has no array, but None.
        """
        if not self.requires_grad:
            return self._spare, False
        if self._grad is None:
            if self.flat is not None:
                self.flat.make_grads()
            else:
                self._grad = np.empty(self.shape, self.value.dtype)
        overwrite, self._nothing_added = self._nothing_added, False
        assert self._grad is not None
        return self._grad, overwrite

    def attach_grad(self, array: np.ndarray) -> None:
        """Keep the gradient in this array from now on."""
        if self._grad is not None:
            array[...] = self._grad
        self._grad = array

    def owns_grad(self, array: np.ndarray) -> bool:
        """Tell whether the gradient is kept in this very array."""
        return self._grad is array

    def set_grad_aside(self) -> tuple[Flat | None, np.ndarray | None, bool]:
        """Begin another gradient, in its own array; `restore_grad` takes what this returns."""
        kept = self.flat, self._grad, self._nothing_added
        self.flat, self._grad, self._nothing_added = None, None, True
        return kept

    def restore_grad(self, kept: tuple[Flat | None, np.ndarray | None, bool]) -> None:
        """Go back to the gradient that `set_grad_aside` left."""
        self.flat, self._grad, self._nothing_added = kept

    @property
    def has_spare(self) -> bool:
        """Whether an array stands in for the gradient of this frozen parameter."""
        return self._spare is not None

    def lend_spare(self) -> None:
        """Let an array stand in for the gradient of this frozen parameter."""
        self._spare = np.zeros_like(self.value)

    def take_spare(self) -> None:
        """Throw that array away again."""
        self._spare = None

    def zero_grad(self) -> None:
        """Set the gradient to zero."""
        self._nothing_added = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return self.value.shape

    @property
    def size(self) -> int:
        """How many numbers the value holds."""
        return self.value.size

    def astype(self, dtype: np.dtype | type) -> None:
        """Convert the value; the gradient begins at zero again."""
        value = self.value.astype(dtype)
        _check_floats(value)
        self.value = value
        self.flat, self._grad, self._nothing_added = None, None, True

    def freeze(self, frozen: bool = True) -> None:
        """Stop training the parameter, or begin again; the gradient so far is dropped."""
        self.requires_grad = not frozen
        self._grad, self._nothing_added = None, True

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.value.dtype})"


def _check_floats(value: Any) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"Parameter: expected an array, got {type(value).__name__}.")
    if value.dtype.kind not in "fc":
        raise ValueError(
            f"Parameter: what is learned must be floats, float32 or float64, got {value.dtype}."
        )

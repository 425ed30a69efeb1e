"""The second derivative: products with the Hessian and the Gauss-Newton matrix, eigenvalues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.gradients.checked import unsaved_copy
from npgpt.gradients.gradcheck import COMPLEX_STEP
from npgpt.layers import Parameter
from npgpt.models import GPT, Model
from npgpt.ops import reference


class _Curvature:
    """A symmetric matrix of the loss, (num_parameters, num_parameters), known by its products.

    Vectors are flat: the parameters in the order of ``model.parameters()``, one after another.
    """

    def __init__(self, model: Model, *batch: Any):
        self._model = unsaved_copy(model).eval().astype(np.float64)
        for parameter in self._model.parameters():  # of the copy: a frozen one has derivatives too
            parameter.freeze(False)
        self._complex = unsaved_copy(self._model).astype(np.complex128)
        self._batch = tuple(map(np.asarray, batch))
        size = self._model.num_parameters()
        self.shape, self.dtype = (size, size), np.dtype(np.float64)

    def __repr__(self) -> str:
        size = self.shape[0]
        model, shapes = type(self._model).__name__, [array.shape for array in self._batch]
        return (
            f"<{type(self).__name__} of a {model}'s loss on a batch of "
            f"{', '.join(map(str, shapes))}: {size:,} x {size:,}, {self.dtype}>"
        )

    def __matmul__(self, vector) -> np.ndarray:
        """Multiply a vector, (num_parameters,), or each column of a matrix."""
        vector = np.asarray(vector, np.float64)
        if vector.ndim == 2 and vector.shape[0] == self.shape[0]:
            return np.stack([self.matvec(column) for column in vector.T], axis=1)
        return self.matvec(vector)

    def matvec(self, vector) -> np.ndarray:
        """Multiply a vector, (num_parameters,)."""
        raise TypeError(f"{type(self).__name__} defines no product.")

    def eigenvalues(self, k: int = 1, which: str = "LA", seed: int = 0) -> np.ndarray:
        """Find eigenvalues by Lanczos' method, with about 10 to 100 products each.

        Parameters
        ----------
        k : int
            How many.
        which : {"LA", "SA", "LM"}
            The largest, the smallest, or those of largest magnitude.
        seed : int
            Of the vector that the method starts from.

        Returns
        -------
        ndarray, shape (k,)
            In ascending order.

        Raises
        ------
        ModuleNotFoundError
            If SciPy is not installed.
        """
        try:
            from scipy.sparse.linalg import LinearOperator, eigsh
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "eigenvalues needs SciPy: pip install 'npgpt[lab]' brings it."
            ) from None
        operator = LinearOperator(self.shape, matvec=self.matvec, dtype=self.dtype)
        start = np.random.default_rng(seed).standard_normal(self.shape[0])
        return np.sort(eigsh(operator, k, which=which, v0=start, return_eigenvectors=False))

    def _step_to(self, vector) -> Any:
        """Move the complex model's weights by ``i h vector``."""
        vector = np.asarray(vector, np.float64)
        if vector.shape != self.shape[:1]:
            raise ValueError(
                f"{type(self).__name__}: a vector must have shape {self.shape[:1]}, one number a "
                f"parameter, got {vector.shape}."
            )
        parts = _cut(self._model, vector)
        for moved, (parameter, part) in zip(self._complex.parameters(), parts, strict=True):
            moved.value[...] = parameter.value + 1j * COMPLEX_STEP * part
        return self._complex


class Hessian(_Curvature):
    """Second derivatives of a model's loss by its parameters, ``H = d^2 L / d theta^2``.

    A product is exact to rounding: backward, which is ordinary code, runs once with the weights at
    ``theta + i h v``, and ``H v = Im(gradient) / h`` (Squire and Trapp 1998, SIAM Review 40(1),
    with the gradient in place of the function). It costs about 3 training steps of the reference
    operations in complex numbers; the matrix never exists.

    Parameters
    ----------
    model : Model
        Copied, in float64, without dropout.
    *batch : ndarray
        What the model's loss takes: of a language model token ids and targets, (batch, time).

    Attributes
    ----------
    shape : (int, int)

    Examples
    --------
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(5, 4, n_layers=1, n_heads=1, d_model=4))
    >>> ids = np.array([[1, 2, 3, 4]])
    >>> hessian = Hessian(model, ids, ids)
    >>> v, w = np.random.default_rng(0).standard_normal((2, hessian.shape[0]))
    >>> bool(np.isclose(w @ (hessian @ v), v @ (hessian @ w)))
    True
    """

    def matvec(self, vector) -> np.ndarray:
        """Multiply a vector, (num_parameters,)."""
        model = self._step_to(vector)
        model.zero_grad()
        with ops.use("reference"):
            model.loss(*self._batch)
            model.backward()
        return _flat_grad(model).imag / COMPLEX_STEP


class GaussNewton(_Curvature):
    """The Gauss-Newton matrix ``G = J^T H_L J``: the Hessian without the model's own curvature.

    ``J`` is the derivative of the logits by the parameters, ``H_L = (diag(p) - p p^T) / n`` that of
    the loss by the logits, with ``p`` the probabilities and ``n`` the targets that count. For
    cross-entropy it is the Fisher matrix of the model's own predictions, and never has a negative
    eigenvalue (Martens 2020, JMLR 21(146), section 9).

    Parameters
    ----------
    model : GPT
        Copied, in float64, without dropout; its logits are needed.
    token_ids, targets : ndarray of int, shape (batch, time)
    """

    def __init__(self, model: GPT, token_ids, targets):
        super().__init__(model, token_ids, targets)

    def matvec(self, vector) -> np.ndarray:
        """Multiply a vector, (num_parameters,)."""
        model, moved = self._model, self._step_to(vector)
        token_ids, targets = self._batch
        with ops.use("reference"):
            dlogits = moved.forward(token_ids).imag / COMPLEX_STEP  # J v
            p = reference.softmax_forward(model.forward(token_ids))
            counts = targets != model.cross_entropy.ignore_index
            dlogits = p * (dlogits - np.sum(p * dlogits, axis=-1, keepdims=True))
            dlogits *= counts[..., None] / counts.sum()  # H_L J v
            model.zero_grad()
            model.backward_from_logits(dlogits)
        return _flat_grad(model)


def loss_along(model: Model, *batch: Any, directions: Any = None, steps: Any = None) -> np.ndarray:
    """Compute the loss on a line, or in a plane, through the model's weights.

    Parameters
    ----------
    model : Model
        Left as it is. For the line between two checkpoints, take the first one's model, and the
        difference of their weights as the direction.
    *batch : ndarray
        What the model's loss takes: of a language model token ids and targets, (batch, time).
    directions : sequence of 1 or 2 ndarrays, shape (num_parameters,)
    steps : ndarray, shape (n,)
        Multiples of each direction. It and the directions may be given by name, or behind the
        batch: ``loss_along(model, token_ids, targets, directions, steps)``.

    Returns
    -------
    ndarray, shape (n,) or (n, n)
    """
    if steps is None:
        *batch, steps = batch  # type: ignore[assignment]
    if directions is None:
        *batch, directions = batch  # type: ignore[assignment]
    if len(directions) not in (1, 2):
        raise ValueError(f"loss_along: give 1 or 2 directions, got {len(directions)}.")
    moved = unsaved_copy(model).eval()
    start = flat_weights(model)
    losses = np.empty((len(steps),) * len(directions))
    for index in np.ndindex(losses.shape):
        offset = sum(steps[i] * np.asarray(d) for i, d in zip(index, directions, strict=True))
        set_flat_weights(moved, start + offset)
        losses[index] = moved.evaluation_loss(*batch)
    return losses


def _flat_grad(model: Model) -> np.ndarray:
    return np.concatenate([parameter.trained_grad.ravel() for parameter in model.parameters()])


def flat_weights(model: Model) -> np.ndarray:
    """Return all parameters one after another, (num_parameters,), as float64.

    In the order of ``model.parameters()``, which is not that of `npgpt.layers.FlatParameters`.
    """
    return np.concatenate([p.value.ravel() for p in model.parameters()]).astype(np.float64)


def set_flat_weights(model: Model, weights: np.ndarray) -> None:
    """Write what `flat_weights` returned into a model, in its order.

    Parameters
    ----------
    model : Model
    weights : ndarray, shape (num_parameters,)
    """
    for parameter, part in _cut(model, weights):
        parameter.value[...] = part


def _cut(model: Model, vector: np.ndarray) -> Iterator[tuple[Parameter, np.ndarray]]:
    """Yield every parameter with its part of a flat vector, in the parameter's shape."""
    begin = 0
    for parameter in model.parameters():
        yield parameter, vector[begin : begin + parameter.size].reshape(parameter.shape)
        begin += parameter.size

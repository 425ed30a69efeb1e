"""The gradient of every example of a batch: its norm, without forming it for matrices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np

from npgpt.gradients.untouched import untouched
from npgpt.html_table import html_table
from npgpt.layers import Embedding, Layer, LayerNorm, Linear, OutputHead, Parameter, RMSNorm
from npgpt.layers.positions import PositionEmbedding
from npgpt.models import GPT
from npgpt.text_table import text_table

MOST_COLUMNS = 8  # of a table


@dataclasses.dataclass(frozen=True)
class PerExampleNorms:
    """Euclidean norms of the gradients of single examples.

    Attributes
    ----------
    by_parameter : dict of str to ndarray, shape (batch,)
        By dotted name.
    total : ndarray, shape (batch,)
        Of all parameters taken as one vector.
    """

    by_parameter: dict[str, np.ndarray]
    total: np.ndarray

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return (head, rows) of text: one row a parameter, the total last; one column an example.

        Beyond 8 examples, columns of the smallest, the median and the largest norm.
        """
        rows = {**self.by_parameter, "all parameters": self.total}
        if len(self.total) <= MOST_COLUMNS:
            head = [f"example {b}" for b in range(len(self.total))]
        else:
            head = ["smallest", "median", "largest"]
            rows = {name: np.percentile(row, [0, 50, 100]) for name, row in rows.items()}
        return ["parameter", *head], [
            [name, *(f"{norm:.3e}" for norm in row)] for name, row in rows.items()
        ]

    def __str__(self) -> str:
        head, rows = self.table()
        return text_table(head, rows, numbers=range(1, len(head)))

    def _repr_html_(self) -> str:
        head, rows = self.table()
        title = f"Gradient norms of {len(self.total)} examples"
        return html_table(title, head, rows, numbers=range(1, len(head)))


def per_example_gradient_norms(model: GPT, token_ids, targets) -> PerExampleNorms:
    """Compute the norm of each example's own gradient, from one backward pass of the batch.

    An example's gradient is that of its own mean loss, what a batch of this example alone would
    give. A matrix's is a sum of outer products over the positions, ``G = sum_t dy_t x_t^T``, so

    ``|G|^2 = sum_{t,u} (dy_t . dy_u) (x_t . x_u)``

    and ``G`` need not exist (Goodfellow 2015, arXiv 1510.01799, for one position; Li et al. 2022,
    arXiv 2110.05679, section 4, for sequences). An embedding's is the same with one-hot ``x``. The
    two uses of a tied weight are added before the square.

    Parameters
    ----------
    model : GPT
        Run without dropout; it is left as it is.
    token_ids, targets : ndarray of int, shape (batch, time)
        Targets of -100 do not count; an example without any target has a gradient of zero.

    Returns
    -------
    PerExampleNorms

    Notes
    -----
    The logits of the whole batch are made: batch x time x vocab_size numbers. Parameters of a
    layer that has no rule here are measured one example at a time.

    Examples
    --------
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=1, n_heads=1, d_model=4))
    >>> ids = np.array([[1, 2, 3, 4], [4, 3, 2, 1]])
    >>> npgpt.gradients.per_example_gradient_norms(model, ids, ids).total.shape
    (2,)
    """
    return batch_of_gradients(model, token_ids, targets)[0]


def batch_of_gradients(
    model: GPT, token_ids, targets
) -> tuple[PerExampleNorms, dict[str, np.ndarray]]:
    """Compute what `per_example_gradient_norms` does, and the sum of the examples' gradients.

    Returns
    -------
    norms : PerExampleNorms
    sums : dict of str to ndarray
        By dotted name, of the parameter's shape.
    """
    token_ids, targets = np.asarray(token_ids), np.asarray(targets)
    parameters = dict(model.named_parameters(trained_only=True))
    with untouched(model, training=False):
        model.loss(token_ids, targets)
        dlogits = model.cross_entropy.backward(1.0)
        dlogits *= _own_mean(targets, model.cross_entropy.ignore_index, dlogits.dtype)
        with _captured(model) as terms:
            model.backward_from_logits(dlogits)
        sums = {name: parameter.grad for name, parameter in parameters.items()}
    without_rule = _parameters_without_rule(model)
    squares = {
        name: _square_norms(terms[id(parameter)])
        for name, parameter in parameters.items()
        if id(parameter) in terms and id(parameter) not in without_rule
    }
    others = [name for name in parameters if name not in squares]
    if others:
        squares |= _one_by_one(model, token_ids, targets, others)
    by_parameter = {name: np.sqrt(squares[name]) for name in parameters}
    return PerExampleNorms(by_parameter, np.sqrt(sum(squares.values()))), sums


def _own_mean(targets: np.ndarray, ignore_index: int, dtype) -> np.ndarray:
    """Return the factors (batch, 1, 1) from a share of the batch's loss to an example's own."""
    counts = np.count_nonzero(targets != ignore_index, axis=1)
    return (counts.sum() / np.maximum(counts, 1)).astype(dtype)[:, None, None]


def _parameters_without_rule(model: Layer) -> set[int]:
    return {
        id(attribute)
        for layer in model.layers()
        if type(layer) not in RULES
        for attribute in vars(layer).values()
        if isinstance(attribute, Parameter)
    }


def _one_by_one(model: GPT, token_ids, targets, names: list[str]) -> dict[str, np.ndarray]:
    squares = {name: np.zeros(len(token_ids)) for name in names}
    parameters = dict(model.named_parameters(trained_only=True))
    for b in range(len(token_ids)):
        if np.all(targets[b] == model.cross_entropy.ignore_index):
            continue
        with untouched(model, training=False):
            model.loss_and_backward(token_ids[b : b + 1], targets[b : b + 1])
            for name in names:
                squares[name][b] = np.sum(np.square(parameters[name].grad, dtype=np.float64))
    return squares


# --- what a layer adds to a parameter's gradient, example by example ------------------------------


@dataclasses.dataclass(frozen=True)
class _OuterProducts:
    """Each example's gradient is ``sum_t left_t right_t^T``.

    ``left`` is (batch, time, rows), or (batch, time) ids that stand for one-hot rows; ``right`` is
    (batch, time, columns).
    """

    left: np.ndarray
    right: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Formed:
    """Each example's gradient itself, (batch, ...)."""

    grads: np.ndarray


_Term = _OuterProducts | _Formed
_Terms = Iterator[tuple[Parameter, _Term]]


def _of_linear(layer: Linear, dy) -> _Terms:
    x = layer.saved[0]
    yield layer.weight, _OuterProducts(_over_time(dy), _over_time(x))
    if layer.bias is not None:  # also where the activation that follows adds it
        yield layer.bias, _Formed(_over_time(dy).sum(axis=1))


def _of_head(layer: OutputHead, dlogits) -> _Terms:
    yield layer.weight, _OuterProducts(_over_time(dlogits), _over_time(layer.saved))


def _of_embedding(layer: Embedding, dy) -> _Terms:
    yield layer.weight, _OuterProducts(layer.saved, dy)


def _of_positions(layer: PositionEmbedding, dy) -> _Terms:
    yield layer.weight, _Formed(dy)  # a row of the table for each position


def _of_layer_norm(layer: LayerNorm, dy) -> _Terms:
    x, mean, rstd = layer.saved
    normalised = (x - mean) * rstd
    yield layer.gamma, _Formed(_over_time(dy * normalised).sum(axis=1))
    if layer.beta is not None:
        yield layer.beta, _Formed(_over_time(dy).sum(axis=1))


def _of_rms_norm(layer: RMSNorm, dy) -> _Terms:
    x, rstd = layer.saved
    yield layer.gamma, _Formed(_over_time(dy * x * rstd).sum(axis=1))


RULES: dict[type[Layer], Callable[[Any, np.ndarray], _Terms]] = {
    Linear: _of_linear,
    OutputHead: _of_head,
    Embedding: _of_embedding,
    PositionEmbedding: _of_positions,
    LayerNorm: _of_layer_norm,
    RMSNorm: _of_rms_norm,
}


@contextmanager
def _captured(model: Layer) -> Iterator[dict[int, list[_Term]]]:
    """Collect, while backward runs, what every layer with a rule adds to its parameters."""
    terms: dict[int, list[_Term]] = {}

    def capturing(layer, rule):
        backward = layer.backward

        @wraps(backward)
        def wrapped(dy, *args, **kwargs):
            for parameter, term in rule(layer, dy):
                terms.setdefault(id(parameter), []).append(term)
            return backward(dy, *args, **kwargs)

        return wrapped

    layers = [layer for layer in model.layers() if type(layer) in RULES]
    for layer in layers:
        vars(layer)["backward"] = capturing(layer, RULES[type(layer)])
    try:
        yield terms
    finally:
        for layer in layers:
            del vars(layer)["backward"]


# --- norms ----------------------------------------------------------------------------------------


def _square_norms(terms: list[_Term]) -> np.ndarray:
    """Return ``|sum of the terms|^2`` for each example, (batch,)."""
    formed = [term.grads for term in terms if isinstance(term, _Formed)]
    if formed:
        total = sum(formed[1:], formed[0])
        return np.sum(np.square(total, dtype=np.float64), axis=tuple(range(1, total.ndim)))
    products = [term for term in terms if isinstance(term, _OuterProducts)]
    if len(products) == 1 and _forming_is_cheaper(products[0]):
        left, right = products[0].left, products[0].right
        return np.array([_square(a.T @ b) for a, b in zip(left, right, strict=True)])
    squares = np.zeros(len(products[0].right))
    for one in products:
        for other in products:
            squares += _inner_products(one, other)
    return np.maximum(squares, 0.0)  # rounding


def _inner_products(one: _OuterProducts, other: _OuterProducts) -> np.ndarray:
    """Return the inner product of two gradients of the same matrix, for each example."""
    lefts = _gram(one.left, other.left)
    rights = _gram(one.right, other.right)
    return np.einsum("btu,btu->b", lefts, rights, dtype=np.float64)


def _gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return all ``a_t . b_u``, (batch, time, time); ids stand for one-hot rows."""
    if a.ndim == 2 and b.ndim == 2:
        return (a[:, :, None] == b[:, None, :]).astype(np.float64)
    if a.ndim == 2:
        return _gram(b, a).transpose(0, 2, 1)
    if b.ndim == 2:
        return np.take_along_axis(a, b[:, None, :], axis=2)
    return a @ b.transpose(0, 2, 1)


def _forming_is_cheaper(term: _OuterProducts) -> bool:
    if term.left.ndim == 2:
        return False
    time, rows = term.left.shape[1:]
    columns = term.right.shape[2]
    return rows * columns < time * (rows + columns)


def _square(matrix: np.ndarray) -> float:
    return float(np.vdot(matrix, matrix))


def _over_time(x: np.ndarray) -> np.ndarray:
    """Reshape (batch, ..., features) to (batch, time, features)."""
    return x.reshape(len(x), -1, x.shape[-1])

"""The gradient of every example of a batch: its norm, without forming it for matrices."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np

from npgpt.fields import ShortRepr
from npgpt.gradients.per_example_rules import captured, layers_with_rules, square_norms
from npgpt.gradients.untouched import untouched
from npgpt.html_table import html_table
from npgpt.layers import CrossEntropy
from npgpt.models import Model
from npgpt.text_table import text_table

MOST_COLUMNS = 8  # of a table


@dataclasses.dataclass(frozen=True, repr=False)
class PerExampleNorms(ShortRepr):
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


def per_example_gradient_norms(model: Model, *batch: Any) -> PerExampleNorms:
    """Compute the norm of each example's own gradient, from one backward pass of the batch.

    An example's gradient is that of its own mean loss, what a batch of this example alone would
    give. A matrix's is a sum of outer products over the positions, ``G = sum_t dy_t x_t^T``, so

    ``|G|^2 = sum_{t,u} (dy_t . dy_u) (x_t . x_u)``

    and ``G`` need not exist (Goodfellow 2015, arXiv 1510.01799, for one position; Li et al. 2022,
    arXiv 2110.05679, section 4, for sequences). An embedding's is the same with one-hot ``x``. The
    two uses of a tied weight are added before the square.

    Parameters
    ----------
    model : Model
        Run without dropout; it is left as it is.
    *batch : ndarray
        What the model's loss takes, with a row an example: of a language model token ids and
        targets, (batch, time). An example without a target that counts has a gradient of zero.

    Returns
    -------
    PerExampleNorms

    Notes
    -----
    One backward pass is enough for a model that `GivesLogits`. The logits of the whole batch are
    made: batch x time x vocab_size numbers. Other models, and parameters of a layer that has no
    rule in `npgpt.gradients.per_example_rules` (of one that you wrote, and of all in it), are
    measured one example at a time: as exact, and as slow as a batch of its own for each.

    Examples
    --------
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=1, n_heads=1, d_model=4))
    >>> ids = np.array([[1, 2, 3, 4], [4, 3, 2, 1]])
    >>> npgpt.gradients.per_example_gradient_norms(model, ids, ids).total.shape
    (2,)
    """
    return batch_of_gradients(model, *batch)[0]


def batch_of_gradients(model: Model, *batch: Any) -> tuple[PerExampleNorms, dict[str, np.ndarray]]:
    """Compute what `per_example_gradient_norms` does, and the sum of the examples' gradients.

    Parameters
    ----------
    model, *batch
        As for `per_example_gradient_norms`.

    Returns
    -------
    norms : PerExampleNorms
    sums : dict of str to ndarray
        By dotted name, of the parameter's shape.
    """
    arrays = tuple(np.asarray(array) for array in batch if array is not None)
    if getattr(model, "carries_state", False) and len(arrays) != 2:
        raise ValueError(
            "per_example_gradient_norms: expected token ids and targets, got "
            f"{len(arrays)} arrays; each example is a text of its own, so no state is carried."
        )
    parameters = dict(model.named_parameters(trained_only=True))
    squares, sums = _all_at_once(model, *arrays) if isinstance(model, GivesLogits) else ({}, {})
    others = [name for name in parameters if name not in squares]
    if others:
        of_others, their_sums = _one_by_one(model, arrays, others)
        squares, sums = {**squares, **of_others}, {**their_sums, **sums}
    by_parameter = {name: np.sqrt(squares[name]) for name in parameters}
    return PerExampleNorms(by_parameter, np.sqrt(sum(squares.values()))), sums


@runtime_checkable
class GivesLogits(Protocol):
    """A model whose loss is the cross-entropy of its logits against a batch's last array."""

    cross_entropy: CrossEntropy

    def backward_from_logits(self, dlogits: np.ndarray) -> None:
        """Send a gradient of the logits back through the model."""


Measured = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # squared norms, sums; by name


def _all_at_once(model: Any, *batch: np.ndarray) -> Measured:
    """Measure, in one backward pass, the parameters whose layers have rules; sum all gradients."""
    parameters = dict(model.named_parameters(trained_only=True))
    with untouched(model, training=False), captured(model) as terms:
        model.loss(*batch)
        dlogits = model.cross_entropy.backward(1.0)
        dlogits = dlogits * _own_mean(batch[-1], model.cross_entropy.ignore_index, dlogits.dtype)
        model.backward_from_logits(dlogits)
        sums = {name: parameter.trained_grad for name, parameter in parameters.items()}
    with_rules = set(map(id, layers_with_rules(model)))
    without_rule = {  # one place where a parameter is used without a rule is enough
        id(parameter)
        for layer in model.layers()
        if id(layer) not in with_rules
        for _, parameter in layer.own_parameters()
    }
    squares = {
        name: square_norms(terms[id(parameter)])
        for name, parameter in parameters.items()
        if id(parameter) in terms and id(parameter) not in without_rule
    }
    return squares, sums


def _own_mean(targets: np.ndarray, ignore_index: int, dtype) -> np.ndarray:
    """Return the factors (batch, 1, 1) from a share of the batch's loss to an example's own."""
    counts = np.count_nonzero(targets != ignore_index, axis=1)
    return (counts.sum() / np.maximum(counts, 1)).astype(dtype)[:, None, None]


def _one_by_one(model: Model, batch: tuple[np.ndarray, ...], names: list[str]) -> Measured:
    trained = dict(model.named_parameters(trained_only=True))
    parameters = {name: trained[name] for name in names}
    squares = {name: np.zeros(len(batch[0])) for name in names}
    sums = {name: np.zeros_like(parameter.value) for name, parameter in parameters.items()}
    for b in range(len(batch[0])):
        example = tuple(array[b : b + 1] for array in batch)
        if not model.num_targets(*example):
            continue
        with untouched(model, training=False):
            model.loss_and_backward(*example)
            for name, parameter in parameters.items():
                grad = parameter.trained_grad
                squares[name][b] = np.sum(np.square(grad, dtype=np.float64))
                sums[name] += grad
    return squares, sums

"""How activations and gradients grow, shrink or die on their way through a model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.gradients.untouched import untouched
from npgpt.html_table import html_table
from npgpt.layers import Layer, MultiHeadAttention, Parameter
from npgpt.layers.core.taps import Listening
from npgpt.models import GPT
from npgpt.ops import reference
from npgpt.text_table import text_table

MEASURED = ("embeddings", "attention.output", "feed_forward.output", "residual")
NUMBERS = range(1, 5)  # the columns of both tables that hold numbers
DEAD_SHARE = 0.01  # of the layer's root mean square activation, at the unit's liveliest token


@dataclasses.dataclass(frozen=True)
class ActivationFlow:
    """One activation, and the gradient that reached it.

    Attributes
    ----------
    name : str
        Of the tap.
    rms : float
        Root mean square of the activation's elements.
    grad_norm : float
        Euclidean norm of the loss's gradient by the activation.
    dead_units : float or None
        For a feed-forward layer: share of hidden units whose activation stays, for every token of
        the batch, below 1 % of the root mean square of the layer's activations. They pass next to
        nothing on, and next to no gradient back.
    attention_entropy : float or None
        For an attention layer: mean entropy of the attention weights of a query, in nats. A query
        at position t that looks everywhere alike has ``log(t + 1)``; one that looks at a single
        key has 0.
    """

    name: str
    rms: float
    grad_norm: float
    dead_units: float | None = None
    attention_entropy: float | None = None


@dataclasses.dataclass(frozen=True)
class ParameterFlow:
    """The parameters of one layer, taken as one vector.

    Attributes
    ----------
    name : str
    weight_norm, grad_norm : float
        Euclidean norms; the gradient's before clipping.
    update_ratio : float or None
        ``|weights after - weights before| / |weights before|`` of one optimiser step. Around 1e-3
        is usual; much less is a layer that hardly learns.
    grad_cosine : float or None
        Cosine between this step's gradient and the step before's: 1 where they agree, 0 where
        noise has the better of them.
    """

    name: str
    weight_norm: float
    grad_norm: float
    update_ratio: float | None = None
    grad_cosine: float | None = None


@dataclasses.dataclass(frozen=True)
class Flow:
    """What `gradient_flow` measured; ``print`` shows two tables, a notebook too.

    Attributes
    ----------
    activations : list of ActivationFlow
        In the order of the forward pass.
    parameters : list of ParameterFlow
        One a layer, in the order of the model.
    step : int or None
        Training step, if it was measured in training.
    """

    activations: list[ActivationFlow]
    parameters: list[ParameterFlow]
    step: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Flow:
        """Make a flow from `to_dict`'s fields."""
        return cls(
            [ActivationFlow(**row) for row in fields["activations"]],
            [ParameterFlow(**row) for row in fields["parameters"]],
            fields.get("step"),
        )

    def tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Return both tables as (head, rows) of text."""
        activations = [
            [
                row.name,
                f"{row.rms:.3e}",
                f"{row.grad_norm:.3e}",
                _or_blank(row.dead_units, ".1%"),
                _or_blank(row.attention_entropy, ".3f"),
            ]
            for row in self.activations
        ]
        parameters = [
            [
                row.name,
                f"{row.weight_norm:.3e}",
                f"{row.grad_norm:.3e}",
                _or_blank(row.update_ratio, ".2e"),
                _or_blank(row.grad_cosine, "+.3f"),
            ]
            for row in self.parameters
        ]
        return [
            (["activation", "rms", "gradient", "dead units", "attention entropy"], activations),
            (["layer", "weights", "gradient", "update / weights", "cosine"], parameters),
        ]

    def __str__(self) -> str:
        return "\n\n".join(text_table(head, rows, NUMBERS) for head, rows in self.tables())

    def _repr_html_(self) -> str:
        title = "Gradient flow" if self.step is None else f"Gradient flow at step {self.step}"
        return "".join(
            html_table(title, head, rows, numbers=NUMBERS) for head, rows in self.tables()
        )


def gradient_flow(model: GPT, token_ids, targets) -> Flow:
    """Measure how the loss's gradient flows back through a model.

    Parameters
    ----------
    model : GPT
        Its gradients are left as they are; dropout is active if the model is in training mode.
    token_ids, targets : ndarray of int, shape (batch, time)

    Returns
    -------
    Flow
        Update ratios and cosines compare two steps, so they are None here; training measures them
        (``npgpt train --gradient-flow``).

    Examples
    --------
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=2, n_heads=1, d_model=4))
    >>> ids = np.array([[1, 2, 3, 4]])
    >>> flow = npgpt.gradients.gradient_flow(model, ids, ids)
    >>> [row.name for row in flow.activations][:4]
    ['embeddings', 'blocks.0.attention.output', 'blocks.0.feed_forward.output', 'blocks.0.residual']
    """
    with untouched(model):
        meter = FlowMeter(model)
        with meter.activations():
            model.loss_and_backward(token_ids, targets)
        meter.read_gradients()
        return meter.flow()


class FlowMeter:
    """Measures a `Flow` in the middle of training, piece by piece, and changes nothing.

    Parameters
    ----------
    model : Layer
    """

    def __init__(self, model: Layer):
        self._listener = _FlowListener(model)
        self._layers = _parameters_by_layer(model)
        self._earlier_grads: dict[str, list[np.ndarray]] | None = None
        self._weights: dict[str, list[np.ndarray]] | None = None
        self._rows: dict[str, ParameterFlow] = {}

    def activations(self) -> Listening:
        """Measure activations and their gradients inside a ``with`` block; the last pass counts."""
        return self._listener

    def remember_gradients(self) -> None:
        """Copy the gradients, for the next step's cosines."""
        self._earlier_grads = {
            name: [parameter.grad.copy() for parameter in parameters]
            for name, parameters in self._layers.items()
        }

    def read_gradients(self) -> None:
        """Measure the gradients of all parameters, when backward is done."""
        earlier, self._earlier_grads = self._earlier_grads or {}, None
        for name, parameters in self._layers.items():
            grads = [parameter.grad for parameter in parameters]
            self._rows[name] = ParameterFlow(
                name,
                _norm(parameter.value for parameter in parameters),
                _norm(grads),
                grad_cosine=_cosine(grads, earlier[name]) if name in earlier else None,
            )

    def remember_weights(self) -> None:
        """Copy the weights, just before the optimiser's step."""
        self._weights = {
            name: [parameter.value.copy() for parameter in parameters]
            for name, parameters in self._layers.items()
        }

    def read_updates(self) -> None:
        """Measure what the optimiser's step changed since `remember_weights`."""
        assert self._weights is not None
        for name, before in self._weights.items():
            for parameter, weights in zip(self._layers[name], before, strict=True):
                np.subtract(parameter.value, weights, out=weights)
            row = self._rows[name]
            ratio = _norm(before) / row.weight_norm if row.weight_norm else None
            self._rows[name] = dataclasses.replace(row, update_ratio=ratio)
        self._weights = None

    def flow(self, step: int | None = None, accumulated: int = 1) -> Flow:
        """Return what was measured.

        Parameters
        ----------
        step : int, optional
        accumulated : int
            Batches whose gradients were added up, each with its share of the loss; the gradients
            of the last batch's activations are scaled to a loss of their own.
        """
        activations = [
            dataclasses.replace(row, grad_norm=accumulated * row.grad_norm)
            for row in self._listener.rows.values()
        ]
        return Flow(activations, list(self._rows.values()), step)


class _FlowListener(Listening):
    """Measures arrays as they pass and keeps none of them."""

    def __init__(self, model: Layer):
        super().__init__(model)
        names = list(model.tap_names())
        attention = {
            f"{name}.": layer
            for name, layer in model.named_layers()
            if isinstance(layer, MultiHeadAttention)
        }
        # the taps that scores are made from, and the layer that makes them
        turned = {name: "_rotated" if a.rotary is not None else "" for name, a in attention.items()}
        self._queries = {f"{name}q{turned[name]}" for name in attention}
        self._keys = {f"{name}k{turned[name]}": layer for name, layer in attention.items()}
        self._measured = {
            name for name in names if any(f".{name}".endswith(f".{last}") for last in MEASURED)
        }
        self._activations = {name for name in names if f".{name}".endswith(".activation")}
        self._wanted = self._measured | self._activations | self._queries | set(self._keys)
        self.rows: dict[str, ActivationFlow] = {}  # in the order they are heard
        self._q: np.ndarray | None = None

    def wants(self, name: str) -> bool:
        """Tell whether anything is measured at this name."""
        return name in self._wanted

    def forward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Measure an activation."""
        output = f"{name.rpartition('.')[0]}.output"
        if name in self._measured:
            self._set(name, rms=math.sqrt(float(ops.sum_of_squares(array)) / array.size))
        elif name in self._activations:
            self._set(output, dead_units=dead_units(array))
        elif name in self._queries:
            self._q = array
        else:  # the keys come right after the queries
            assert self._q is not None
            entropy = attention_entropy(self._q, array, self._keys[name])
            self._set(output, attention_entropy=float(np.mean(entropy)))
            self._q = None
        return array

    def backward(self, name: str, array: np.ndarray) -> np.ndarray:
        """Measure a gradient."""
        if name in self._measured:
            self._set(name, grad_norm=_norm([array]))
        return array

    def _set(self, name: str, **numbers: Any) -> None:
        row = self.rows.get(name) or ActivationFlow(name, math.nan, math.nan)
        self.rows[name] = dataclasses.replace(row, **numbers)


def attention_entropy(q: np.ndarray, k: np.ndarray, layer: MultiHeadAttention) -> np.ndarray:
    """Compute the entropy of a layer's attention weights, before dropout.

    With scores ``s_j = scale q.k_j`` and weights ``w_j = exp(s_j - lse)``, the entropy
    ``-sum w_j log w_j`` is ``lse - sum w_j s_j``, that is ``lse - scale q.(sum w_j k_j)``: the log
    of the normaliser, and one attention with the keys in place of the values. The weights are never
    made, unless the layer adds a bias to its scores.

    Parameters
    ----------
    q : ndarray, shape (batch, heads, time, head_size)
        As the scores are made from them: rotated, if the layer rotates.
    k : ndarray, shape (batch, n_kv_heads, time, head_size)
    layer : MultiHeadAttention

    Returns
    -------
    ndarray, shape (batch, heads, time)
        In nats.
    """
    if layer.position_bias is not None:
        bias = layer.position_bias.forward(k.shape[2], k.dtype)
        # one example at a time: heads x time x time numbers
        return np.concatenate(
            [_entropy_of_scores(q[b : b + 1], k[b : b + 1], layer, bias) for b in range(len(q))]
        )
    mask = ops.Mask(window=layer.window)
    mean_key, lse = ops.attention_forward(q, k, k, scale=layer.scale, mask=mask)
    entropy = lse[..., 0] - layer.scale * np.einsum("bhtd,bhtd->bht", q, mean_key)
    return np.maximum(entropy, 0.0)  # rounding


def _entropy_of_scores(q, k, layer: MultiHeadAttention, bias: np.ndarray) -> np.ndarray:
    scores = reference.scores_forward(q, k, scale=layer.scale, mask=ops.Mask(window=layer.window))
    weights = reference.softmax_forward(reference.distance_bias_forward(scores, bias))
    return -np.sum(weights * np.log(np.where(weights > 0, weights, 1.0)), axis=-1)


def dead_units(activation: np.ndarray) -> float:
    """Compute the share of units that stay silent for every token.

    Parameters
    ----------
    activation : ndarray, shape (..., units)

    Returns
    -------
    float
        From 0 to 1.
    """
    rows = activation.reshape(-1, activation.shape[-1])
    liveliest = np.maximum(rows.max(axis=0), -rows.min(axis=0))
    rms = math.sqrt(float(ops.sum_of_squares(activation)) / activation.size)
    return float(np.mean(liveliest <= DEAD_SHARE * rms))


def _parameters_by_layer(model: Layer) -> dict[str, list[Parameter]]:
    """Group what is trained by the layer a reader thinks in, such as ``blocks.0.attention``."""
    groups: dict[str, list[Parameter]] = {}
    for name, parameter in model.named_parameters(trained_only=True):
        path = name.split(".")[:-1]
        depth = 3 if len(path) > 1 and path[1].isdigit() else 1
        groups.setdefault(".".join(path[:depth]), []).append(parameter)
    return groups


def _norm(arrays: Iterable[np.ndarray]) -> float:
    return math.sqrt(sum(float(ops.sum_of_squares(array)) for array in arrays))


def _cosine(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float | None:
    length = _norm(one) * _norm(other)
    if length == 0.0:
        return None
    return sum(float(np.vdot(a, b)) for a, b in zip(one, other, strict=True)) / length


def _or_blank(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)

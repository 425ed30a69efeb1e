"""Measures how activations and gradients flow, while a model runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from npgpt import ops
from npgpt.gradients.flow import ActivationFlow, Flow, ParameterFlow
from npgpt.gradients.untouched import untouched
from npgpt.layers import Layer, MultiHeadAttention, Parameter
from npgpt.layers.attention import Fused, InSteps
from npgpt.layers.core.layer import Passes
from npgpt.layers.core.names import layer_of, place_of
from npgpt.layers.core.taps import Listening
from npgpt.layers.recurrent import Recurrent
from npgpt.models import Model
from npgpt.ops import reference

MEASURED = (
    "embeddings",
    "attention.output",
    "cross_attention.output",
    "feed_forward.output",
    "residual",
)
STATES = ("hidden", "cell")  # of each step of a recurrent layer
DEAD_SHARE = 0.01  # of the layer's root mean square activation, at the unit's liveliest token


def gradient_flow(model: Model, *batch: Any) -> Flow:
    """Measure how the loss's gradient flows back through a model.

    Parameters
    ----------
    model : Model
        Its gradients are left as they are; dropout is active if the model is in training mode.
    *batch : ndarray
        What the model's loss takes: of a language model token ids and targets, (batch, time).

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
        meter = FlowMeter(model, in_steps=True)
        with meter.activations():
            model.loss_and_backward(*batch)
        meter.read_gradients()
        return meter.flow()


class FlowMeter:
    """Measures a `Flow` in the middle of training, piece by piece, and changes nothing.

    Parameters
    ----------
    model : Layer
    in_steps : bool
        Of recurrent layers: whether to listen to the states of each step, of every layer, for which
        steps are done one after another in plain NumPy, equal up to rounding; else to the output.
    """

    def __init__(self, model: Layer, in_steps: bool = False):
        self._listener = _FlowListener(model, in_steps)
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
            name: [parameter.trained_grad.copy() for parameter in parameters]
            for name, parameters in self._layers.items()
        }

    def read_gradients(self) -> None:
        """Measure the gradients of all parameters, when backward is done."""
        earlier, self._earlier_grads = self._earlier_grads or {}, None
        for name, parameters in self._layers.items():
            grads = [parameter.trained_grad for parameter in parameters]
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

    def __init__(self, model: Layer, in_steps: bool):
        super().__init__(model)
        names = list(model.tap_names())
        self._contexts = {
            f"{layer.name}.context".lstrip("."): layer
            for layer in model.layers()
            if isinstance(layer, MultiHeadAttention)
        }
        self._measured = {
            name
            for name in names
            if any(f".{layer_of(name)[0]}".endswith(f".{last}") for last in MEASURED)
        }
        for layer in model.layers():
            if isinstance(layer, Recurrent):
                taps = [tap for tap in STATES if tap in layer.STEP_TAPS]
                states = [tap + suffix for suffix in layer.suffixes() for tap in taps]
                heard = states if in_steps else ["output"]
                self._measured |= {f"{layer.name}.{tap}".lstrip(".") for tap in heard}
        self._activations = {name for name in names if f".{name}".endswith(".activation")}
        self._wanted = self._measured | self._activations | set(self._contexts)
        self.rows: dict[str, ActivationFlow] = {}  # in the order they are heard

    def wants(self, name: str) -> bool:
        """Tell whether anything is measured at this name."""
        return name in self._wanted

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Measure an activation."""
        output = f"{name.rpartition('.')[0]}.output"
        if name in self._measured:
            self._set(name, rms=math.sqrt(float(ops.sum_of_squares(array)) / array.size))
        elif name in self._activations:
            self._set(output, dead_units=dead_units(array))
        else:  # attention has kept what its context is made from
            layer = self._contexts[name]
            kept = layer.saved[-1] if isinstance(layer.saved, Passes) else layer.saved
            if isinstance(kept, Fused | InSteps):
                entropy = attention_entropy(kept, layer.scale)
                self._set(output, attention_entropy=float(np.mean(entropy)))
        return array

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Measure a gradient."""
        if name in self._measured:
            self._set(name, grad_norm=_norm([array]))
        return array

    def _set(self, name: str, **numbers: Any) -> None:
        row = self.rows.get(name) or ActivationFlow(name, math.nan, math.nan)
        self.rows[name] = dataclasses.replace(row, **numbers)


def attention_entropy(kept: Fused | InSteps, scale: float) -> np.ndarray:
    """Compute the entropy of a layer's attention weights, before dropout.

    With scores ``s_j = scale q.k_j`` and weights ``w_j = exp(s_j - lse)``, the entropy
    ``-sum w_j log w_j`` is ``lse - sum w_j s_j``, that is ``lse - scale q.(sum w_j k_j)``: the log
    of the normaliser, and one attention with the keys in place of the values. The weights are never
    made, unless the layer adds a bias to its scores.

    Parameters
    ----------
    kept : Fused or InSteps
        Of the layer's last forward pass: queries, keys, mask and bias.
    scale : float

    Returns
    -------
    ndarray, shape (batch, heads, time)
        In nats.
    """
    q, k, mask = kept.q, kept.k, kept.mask
    if kept.bias is not None:
        # one example at a time: heads x time x keys numbers
        return np.concatenate([_entropy_of_scores(kept, b, scale) for b in range(len(q))])
    mean_key, lse = ops.attention_forward(q, k, k, scale=scale, mask=mask)
    entropy = lse[..., 0] - scale * np.einsum("bhtd,bhtd->bht", q, mean_key)
    return np.maximum(entropy, 0.0)  # rounding


def _entropy_of_scores(kept: Fused | InSteps, example: int, scale: float) -> np.ndarray:
    one = slice(example, example + 1)
    lengths = None if kept.mask.lengths is None else kept.mask.lengths[one]
    mask = kept.mask._replace(lengths=lengths)
    scores = reference.scores_forward(kept.q[one], kept.k[one], scale=scale, mask=mask)
    if kept.bias is not None:
        scores = reference.distance_bias_forward(scores, kept.bias)
    weights = reference.softmax_forward(scores)
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
        layer = name.rpartition(".")[0]
        stack, block, rest = place_of(layer)
        number = layer_of(name)[1]
        if stack:
            layer = f"{stack}.{block}.{rest.partition('.')[0]}".rstrip(".")
        elif number is not None:  # of recurrent layers, which hold those of all layers
            layer = f"{layer}_l{number}".lstrip("_")
        groups.setdefault(layer, []).append(parameter)
    return groups


def _norm(arrays: Iterable[np.ndarray]) -> float:
    return math.sqrt(sum(float(ops.sum_of_squares(array)) for array in arrays))


def _cosine(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float | None:
    length = _norm(one) * _norm(other)
    if length == 0.0:
        return None
    return sum(float(np.vdot(a, b)) for a, b in zip(one, other, strict=True)) / length

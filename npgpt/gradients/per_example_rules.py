"""What layers add to the gradient of each example of a batch, and the norm of such sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np

from npgpt.fields import ShortRepr
from npgpt.layers import (
    GRU,
    LSTM,
    RNN,
    CausalConv1d,
    Embedding,
    FeedForward,
    Layer,
    LayerNorm,
    Linear,
    OutputHead,
    Parameter,
    RMSNorm,
)
from npgpt.layers.core.taps import Listening
from npgpt.layers.positions import PositionEmbedding
from npgpt.layers.recurrent import Recurrent
from npgpt.models import GPT
from npgpt.ops.reference.recurrence import after, are_there, before


@dataclasses.dataclass(frozen=True, repr=False)
class OuterProducts(ShortRepr):
    """Each example's gradient is ``sum_t left_t right_t^T``.

    ``left`` is (batch, time, rows), or (batch, time) ids that stand for one-hot rows; ``right`` is
    (batch, time, columns).
    """

    left: np.ndarray
    right: np.ndarray


@dataclasses.dataclass(frozen=True, repr=False)
class Formed(ShortRepr):
    """Each example's gradient itself, (batch, ...)."""

    grads: np.ndarray


Term = OuterProducts | Formed
Terms = Iterator[tuple[Parameter, Term]]


def _of_linear(layer: Linear, dy) -> Terms:
    yield layer.weight, OuterProducts(_over_time(dy), _over_time(layer.saved.x))
    if layer.bias is not None:
        yield layer.bias, Formed(_over_time(dy).sum(axis=1))


def _of_head(layer: OutputHead, dlogits) -> Terms:
    yield layer.weight, OuterProducts(_over_time(dlogits), _over_time(layer.saved))
    if layer.bias is not None:
        yield layer.bias, Formed(_over_time(dlogits).sum(axis=1))


def _of_embedding(layer: Embedding, dy) -> Terms:
    yield layer.weight, OuterProducts(layer.saved, dy)


def _of_positions(layer: PositionEmbedding, dy) -> Terms:
    yield layer.weight, Formed(dy)  # a row of the table for each position


def _of_layer_norm(layer: LayerNorm, dy) -> Terms:
    x, mean, rstd = layer.saved
    normalised = (x - mean) * rstd
    yield layer.gamma, Formed(_over_time(dy * normalised).sum(axis=1))
    if layer.beta is not None:
        yield layer.beta, Formed(_over_time(dy).sum(axis=1))


def _of_rms_norm(layer: RMSNorm, dy) -> Terms:
    x, rstd = layer.saved
    yield layer.gamma, Formed(_over_time(dy * x * rstd).sum(axis=1))


def _of_convolution(layer: CausalConv1d, dy) -> Terms:
    (batch, time, d_in), kernel = layer.saved.shape, layer.kernel
    read = np.zeros((batch, time, kernel, d_in), dy.dtype)  # what each output reads, side by side
    for j in range(kernel):
        shift = min((kernel - 1 - j) * layer.dilation, time)
        read[:, shift:, j] = layer.saved[:, : time - shift]
    yield layer.weight, OuterProducts(dy, read.reshape(batch, time, -1))
    if layer.bias is not None:
        yield layer.bias, Formed(dy.sum(axis=1))


# --- recurrent layers: from the gradients that every step was shown -------------------------------

Heard = dict[str, np.ndarray]  # gradients by the taps' names, each (batch, time, d_hidden)


def _of_rnn(layer: RNN, heard: Heard) -> Terms:
    for suffix, read, (h,) in _passes(layer):
        made = after(h, suffix.endswith("_reverse")).swapaxes(0, 1)
        slope = 1.0 - made * made if layer.nonlinearity == "tanh" else made > 0
        da = heard["hidden" + suffix] * slope
        yield from _of_steps(layer, suffix, read, h, da, da)


def _of_gru(layer: GRU, heard: Heard) -> Terms:
    for suffix, read, (h, gates, _) in _passes(layer):
        r, z, n = np.split(gates.swapaxes(0, 1), 3, axis=-1)
        dr, dz, dn = (heard[name + suffix] for name in ("reset_gate", "update_gate", "candidate"))
        da_r, da_z, da_n = dr * r * (1.0 - r), dz * z * (1.0 - z), dn * (1.0 - n * n)
        da = np.concatenate([da_r, da_z, da_n], axis=-1)
        db = np.concatenate([da_r, da_z, da_n * r], axis=-1)
        yield from _of_steps(layer, suffix, read, h, da, db)


def _of_lstm(layer: LSTM, heard: Heard) -> Terms:
    for suffix, read, (h, _, gates) in _passes(layer):
        i, f, g, o = np.split(gates.swapaxes(0, 1), 4, axis=-1)
        di, df, dg, do = (heard[name + suffix] for name in layer.STEP_TAPS[:4])
        slopes = [di * i * (1.0 - i), df * f * (1.0 - f), dg * (1.0 - g * g), do * o * (1.0 - o)]
        da = np.concatenate(slopes, axis=-1)
        yield from _of_steps(layer, suffix, read, h, da, da)


def _passes(layer: Recurrent) -> Iterator[tuple[str, np.ndarray, list[np.ndarray]]]:
    """Yield the end of the weights' names, what was read and what was kept, of each pass."""
    for suffix, (read, kept) in zip(layer.suffixes(), layer.saved.passes, strict=True):
        yield suffix, read, kept


def _of_steps(layer: Recurrent, suffix: str, read, h, da, db) -> Terms:
    """Give the terms of one layer: ``da`` is of what comes from inputs, ``db`` from states."""
    (batch, time), lengths = da.shape[:2], layer.saved.lengths
    there = are_there(lengths, time, batch).swapaxes(0, 1)
    read_of = {"ih": read, "hh": before(h, suffix.endswith("_reverse"))}
    for which, gradient in (("ih", there * da), ("hh", there * db)):
        weight, bias = (getattr(layer, f"{what}_{which}{suffix}") for what in ("weight", "bias"))
        yield weight, OuterProducts(gradient, read_of[which].swapaxes(0, 1))
        if bias is not None:
            yield bias, Formed(gradient.sum(axis=1))


RULES: dict[type[Layer], Callable[[Any, Any], Terms]] = {
    Linear: _of_linear,
    OutputHead: _of_head,
    Embedding: _of_embedding,
    PositionEmbedding: _of_positions,
    LayerNorm: _of_layer_norm,
    RMSNorm: _of_rms_norm,
    CausalConv1d: _of_convolution,
    RNN: _of_rnn,
    GRU: _of_gru,
    LSTM: _of_lstm,
}


def layers_with_rules(model: Layer) -> list[Layer]:
    """List the layers of a model that have a rule.

    Those inside a layer that is defined outside this package are left out: it may call them with
    something else than a row an example.
    """
    foreign = [x for x in model.layers() if x.is_foreign and not isinstance(x, GPT)]
    inside = {id(part) for layer in foreign for part in layer.layers()}
    return [x for x in model.layers() if type(x) in RULES and id(x) not in inside]


@contextmanager
def captured(model: Layer) -> Iterator[dict[int, list[Term]]]:
    """Collect, in a forward and a backward pass, what each layer with a rule adds to parameters."""
    terms: dict[int, list[Term]] = {}
    listener = _InSteps(model)

    def capturing(layer, rule):
        backward = layer.backward

        @wraps(backward)
        def wrapped(dy, *args, **kwargs):
            dx = backward(dy, *args, **kwargs)
            reached = listener.heard_by(layer) if isinstance(layer, Recurrent) else dy
            for parameter, term in rule(layer, reached):
                terms.setdefault(id(parameter), []).append(term)
            return dx

        return wrapped

    layers = layers_with_rules(model)
    for layer in layers:
        vars(layer)["backward"] = capturing(layer, RULES[type(layer)])
    try:
        with listener:
            yield terms
    finally:
        for layer in layers:
            del vars(layer)["backward"]


class _InSteps(Listening):
    """Takes what is fused apart: every map's backward is called, every step shows its gradients."""

    def __init__(self, model: Layer):
        super().__init__(model)
        self._names = {
            name
            for layer in model.layers()
            if isinstance(layer, FeedForward | Recurrent)
            for name in layer.tap_names()
        }
        self._heard: Heard = {}

    def wants(self, name: str) -> bool:
        return name in self._names

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        if name in self._names:
            self._heard[name] = array  # of a recurrent layer, filled when its last step is shown
        return array

    def heard_by(self, layer: Layer) -> Heard:
        names = zip(layer.TAPS, layer.tap_names(), strict=True)
        return {tap: self._heard[name] for tap, name in names if name in self._heard}


def square_norms(terms: list[Term]) -> np.ndarray:
    """Return ``|sum of the terms|^2`` for each example, (batch,)."""
    formed = [term.grads for term in terms if isinstance(term, Formed)]
    if formed:
        total = sum(formed[1:], formed[0])
        return np.sum(np.square(total, dtype=np.float64), axis=tuple(range(1, total.ndim)))
    products = [term for term in terms if isinstance(term, OuterProducts)]
    if len(products) == 1 and _forming_is_cheaper(products[0]):
        left, right = products[0].left, products[0].right
        return np.array([_square(a.T @ b) for a, b in zip(left, right, strict=True)])
    squares = np.zeros(len(products[0].right))
    for one in products:
        for other in products:
            squares += _inner_products(one, other)
    return np.maximum(squares, 0.0)  # rounding


def _inner_products(one: OuterProducts, other: OuterProducts) -> np.ndarray:
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


def _forming_is_cheaper(term: OuterProducts) -> bool:
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

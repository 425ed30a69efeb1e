"""Every layer's backward is the derivative of its forward, for drawn choices, shapes and values."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from npgpt import layers, models, ops, testing
from npgpt.gradients import gradcheck
from npgpt.gradients.suite import WithStates
from npgpt.layers import BlockConfig, Init, Layer, MultiHeadAttention, ReLU
from npgpt.layers.core.progress import Progress
from npgpt.models import GPTConfig, Model
from npgpt.testing.drawn_layers import LAYERS, MODELS
from tests.layers.configs import block_config
from tests.layers.listeners import AllEars
from tests.strategies import backends, methods, normal, seeds

LIMITS = {"central": 1e-6, "complex": 1e-11}
DEEP = ("TransformerBlock", "RecomputingBlock", "Stack", *MODELS)
LARGE = ("Bert", "Bert (training step)", "Transformer")  # with about sixty parameters
NARROW = layers.LayerNorm(1, eps=1e-2, bias=False)


def check(layer, *inputs, seed, method, backend, max_coordinates=25):
    with ops.use(backend):
        report = gradcheck(
            layer, *inputs, method=method, max_coordinates=max_coordinates, seed=seed % 1000
        )
    assert report.tolerance == LIMITS[method]
    report.raise_if_failed()


def bends(name, layer):
    """Tell whether the third derivative of a layer, or a corner, is too much for a finite step."""
    return name in DEEP or any(
        (isinstance(inner, MultiHeadAttention) and inner.scale == 1.0)
        or (isinstance(inner, ReLU) and name != "ReLU")  # by itself it is drawn away from its corner
        or getattr(inner, "nonlinearity", "") == "relu"
        for inner in layer.layers()
    )  # fmt: skip


def test_backward_is_the_derivative_of_forward_where_rounding_is_all_there_is():
    """Rows of one feature: each gradient is 0, and backward leaves two equal terms' rounding."""
    x = normal(1, (2, 1), np.float32)
    check(NARROW, x, seed=1, method="complex", backend="compiled")


@pytest.mark.parametrize("name", [*LAYERS, *MODELS])
def test_backward_is_the_derivative_of_forward(name):
    """One property for all: every class, every choice, shapes, dtypes, backends, both methods."""

    @settings(max_examples=5 if name in LARGE else 10 if name in DEEP else 25)
    @given(testing.layers([name]), seeds, methods, backends)
    def holds(drawn, seed, method, backend):
        layer, inputs = drawn
        alone = layer.inner if isinstance(layer, WithStates) else layer
        assert name in MODELS or type(alone) is getattr(layers, name)
        if bends(name, layer):
            method = "complex"
        most = 1 if name in LARGE else 6 if name in DEEP else 25
        check(layer, *inputs, seed=seed, method=method, backend=backend, max_coordinates=most)

    holds()


# --- nothing is left out --------------------------------------------------------------------------


def classes_in(module, base):
    return {
        name
        for name in module.__all__
        if isinstance(kind := getattr(module, name), type) and issubclass(kind, base)
    }


def test_every_layer_is_drawn():
    """A new class of `npgpt.layers` needs a line in `npgpt.testing.drawn_layers.LAYERS`."""
    assert set(LAYERS) == classes_in(layers, Layer) - {"Layer"}
    abstract = {"Model", "LanguageModel", "RecurrentLM", "SequenceToSequence", "StatefulModel"}
    abstract |= {"Trainable"}
    assert {name.partition(" (")[0] for name in MODELS} == classes_in(models, Model) - abstract


def test_a_layer_that_is_not_drawn_is_noticed(monkeypatch):
    monkeypatch.setattr(layers, "Shift", type("Shift", (Layer,), {}), raising=False)
    monkeypatch.setattr(layers, "__all__", [*layers.__all__, "Shift"])
    with pytest.raises(AssertionError, match="Shift"):
        test_every_layer_is_drawn()


@pytest.mark.parametrize("kind", [BlockConfig, GPTConfig])
def test_every_choice_of_a_config_is_drawn(kind):
    """A new choice is drawn by what its field declares; a new number needs a line."""
    seen = {field.name: set() for field in dataclasses.fields(kind)}

    @settings(max_examples=150)
    @given(testing.configs(kind))
    def collect(config):
        for name, values in seen.items():
            values.add(getattr(config, name))

    collect()
    for field in dataclasses.fields(kind):
        values = set(field.metadata["option"].choices)
        if isinstance(field.default, bool):
            values = {True, False}
        assert values <= seen[field.name], field.name
        assert seen[field.name] != {field.default}, field.name


# --- listening ------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(testing.layers(dtype=np.float64), seeds, backends)
def test_listening_takes_fused_operations_apart_and_changes_no_number(drawn, seed, backend):
    layer, inputs = drawn
    results = []
    for listener in (None, AllEars()):
        layer.listen(listener)
        layer.zero_grad()
        progress = Progress(layer)
        with ops.use(backend):
            y = layer.forward(*inputs)
            dx = layer.backward(normal(seed, np.shape(y), np.float64))
        progress.restore()
        dxs = dx if isinstance(dx, tuple) else (dx,)
        grads = [p.grad.copy() for p in layer.trained_parameters()]
        results.append([y, *(dx for dx in dxs if dx is not None), *grads])
    for alone, heard in zip(*results, strict=True):
        np.testing.assert_allclose(alone, heard, rtol=1e-10, atol=1e-10)


def test_a_listener_sees_weights_that_sum_to_one_and_their_gradients():
    layer = layers.MultiHeadAttention(block_config(6, 2), Init(1, np.float64))
    ears = AllEars()
    layer.listen(ears)
    layer.backward(layer.forward(normal(0, (1, 4, 6), np.float64)))
    assert list(ears.activations) == ["q", "k", "v", "scores", "weights", "context", "output"]
    assert list(ears.gradients) == ["output", "context", "weights", "scores", "q", "k", "v"]
    np.testing.assert_allclose(ears.activations["weights"].sum(axis=-1), 1.0)
    assert (ears.activations["scores"][..., 0, 1:] == -np.inf).all()
    np.testing.assert_array_equal(ears.gradients["scores"][..., 0, 1:], 0.0)


def test_what_a_listener_returns_is_what_the_layer_goes_on_with():
    class Silence(AllEars):
        def on_activation(self, name, array):
            return np.zeros_like(array) if name == "weights" else array

        def on_gradient(self, name, array):
            return np.zeros_like(array) if name == "output" else array

    layer = layers.MultiHeadAttention(block_config(6, 2, bias=False), Init(1, np.float64))
    layer.listen(Silence())
    x = normal(0, (1, 4, 6), np.float64)
    np.testing.assert_array_equal(layer.forward(x), 0.0)
    np.testing.assert_array_equal(layer.backward(np.ones_like(x)), 0.0)
    layer.listen(None)
    assert np.abs(layer.forward(x)).max() > 0

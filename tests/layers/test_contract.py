"""What every layer promises, whatever it computes."""

import numpy as np
import pytest

from npgpt import layers
from npgpt.gradients import SUITE
from npgpt.gradients.suite import LAYER_EXAMPLES
from npgpt.models import Model
from tests.layers.configs import block_config
from tests.strategies import normal

LAYERS = LAYER_EXAMPLES


def example_of(name, dtype=np.float32):
    layer, inputs = SUITE[name](np.random.default_rng(0))
    inputs = tuple(x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs)
    return layer.astype(dtype), inputs


def forward(layer, inputs):
    return layer.loss(*inputs) if isinstance(layer, Model) else layer.forward(*inputs)


def backward(layer, dy):
    """Send a gradient back; returns those of the inputs, one or several."""
    dx = layer.backward(dy)
    return dx if isinstance(dx, tuple) else (dx,)


def gradients(layer):
    return [parameter.grad.copy() for parameter in layer.trained_parameters()]


@pytest.mark.parametrize("name", SUITE)
def test_backward_before_forward_names_the_layer(name):
    layer, _ = example_of(name)
    with pytest.raises(RuntimeError, match=r"backward needs a (forward pass|call of loss)"):
        layer.backward(np.ones((2, 5, 12)))


@pytest.mark.parametrize("name", LAYERS)
def test_an_output_is_the_callers_to_keep(name, backend):
    layer, inputs = example_of(name)
    layer.eval()
    first = layer.forward(*inputs)
    kept = np.copy(first)
    other = tuple(
        x * np.float32(1.5) if x.dtype.kind == "f" else x[::-1] if x.ndim else x + 1 for x in inputs
    )
    layer.forward(*other)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("name", LAYERS)
def test_backward_changes_neither_dy_nor_the_inputs(name, backend):
    layer, inputs = example_of(name)
    copies = [x.copy() for x in inputs]
    y = layer.forward(*inputs)
    dy = normal(0, np.shape(y), np.float32)
    kept = np.copy(dy)
    layer.backward(dy)
    np.testing.assert_array_equal(dy, kept)
    for x, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize("name", SUITE)
def test_gradients_add_up_over_calls_of_backward(name, backend):
    layer, inputs = example_of(name, np.float64)
    y = forward(layer, inputs)
    dy = normal(0, np.shape(y), np.float64)
    layer.backward(dy)
    once = gradients(layer)
    layer.backward(dy)
    for twice, single in zip(gradients(layer), once, strict=True):
        np.testing.assert_allclose(twice, 2.0 * single, atol=1e-14)
    layer.zero_grad()
    assert all((gradient == 0).all() for gradient in gradients(layer))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SUITE)
def test_results_have_the_dtype_of_the_layer(name, dtype, backend):
    layer, inputs = example_of(name, dtype)
    y = forward(layer, inputs)
    assert y.dtype == dtype
    for dx in backward(layer, np.ones(np.shape(y), dtype)):
        assert dx is None or dx.dtype == dtype
    assert all(gradient.dtype == dtype for gradient in gradients(layer))


@pytest.mark.parametrize("name", [name for name in SUITE if "dropout" in name.lower()])
def test_evaluation_turns_dropout_off(name, backend):
    layer, inputs = example_of(name)
    layer.train()
    assert not np.array_equal(forward(layer, inputs), forward(layer, inputs))
    layer.eval()
    np.testing.assert_array_equal(forward(layer, inputs), forward(layer, inputs))


WRONG_SHAPES = [
    (layers.Linear(3, 2), np.ones((4, 5)), r"Linear: expected .*\(\.\.\., 3\).*got \(4, 5\)"),
    (layers.LayerNorm(3), np.ones((4, 5)), r"LayerNorm: expected .*\(\.\.\., 3\).*got \(4, 5\)"),
    (layers.OutputHead(3, 7), np.ones(5), r"OutputHead: expected .*\(\.\.\., 3\).*got \(5,\)"),
    (layers.MultiHeadAttention(block_config(4, 2)), np.ones((2, 4)), r"\(batch, time, 4\), got \(2, 4\)"),
    (layers.RMSNorm(3), np.ones((4, 5)), r"RMSNorm: expected .*\(\.\.\., 3\).*got \(4, 5\)"),
    (layers.SwiGLU(), np.ones((4, 5)), r"must be even, got \(4, 5\)"),
    (layers.SinusoidalEmbedding(3), np.ones((4, 5)), r"SinusoidalEmbedding: expected .*got \(4, 5\)"),
    (layers.FeedForward(block_config(3)), np.ones((2, 4)), r"Linear: expected .*got \(2, 4\)"),
    (layers.PositionEmbedding(4, 3), np.ones((1, 5, 3)), "5 tokens is longer than the context of 4"),
    (layers.Embedding(4, 3), np.array([[0, 4]]), r"token id 4 at index \(0, 1\) is outside .* 4 tokens"),
    (layers.Embedding(4, 3), np.array([-1]), r"token id -1 at index \(0,\)"),
    (layers.Embedding(4, 3), np.array([0.5]), "must be integers, got dtype float64"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "x", "message"), WRONG_SHAPES)
def test_an_input_that_does_not_fit_is_refused_with_what_came_and_what_was_expected(
    layer, x, message
):
    with pytest.raises(ValueError, match=message):
        layer.forward(x)


@pytest.mark.parametrize("name", [n for n in LAYERS if not n.startswith("CrossEntropy")])
def test_a_gradient_of_another_shape_is_refused(name):
    layer, inputs = example_of(name)
    layer.forward(*inputs)
    with pytest.raises(ValueError, match=r"backward expected dy of the output's shape"):
        layer.backward(np.ones((1, 1, 3)))


def test_an_error_names_the_place_in_the_model():
    block = layers.TransformerBlock(block_config(4, 2))
    block.assign_names()
    with pytest.raises(RuntimeError, match=r"^Dropout 'feed_forward_dropout': backward needs"):
        block.backward(np.ones((1, 1, 4), np.float32))


CROSS_ENTROPY_ERRORS = [
    (np.zeros((2, 3)), np.zeros(3, int), r"\(2,\), got \(3,\)"),
    (np.zeros((2, 3)), np.zeros(2), "must be integers"),
    (np.zeros((2, 3)), np.array([0, 3]), "target 3 is outside the vocabulary of 3 tokens"),
    (np.zeros((2, 3)), np.array([-100, -100]), "every target is ignore_index"),
]


@pytest.mark.parametrize(("logits", "targets", "message"), CROSS_ENTROPY_ERRORS)
def test_targets_that_do_not_fit_are_refused(logits, targets, message):
    with pytest.raises(ValueError, match=message):
        layers.CrossEntropy().forward(logits, targets)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Dropout(1.0), "p must be at least 0 and below 1, got 1.0"),
        (lambda: layers.GELU("sigmoid"), "approximate must be 'tanh' or 'none', got 'sigmoid'"),
        (lambda: block_config(100, 3), "^BlockConfig: .* d_model 100 and n_heads 3"),
        (lambda: block_config(4, 2, n_kv_heads=4), "n_kv_heads 4 and n_heads 2"),
        (lambda: block_config(12, 4, n_kv_heads=3), "n_kv_heads must divide n_heads"),
        (lambda: block_config(4, 2, window=0), "window must be a positive integer, got 0"),
        (lambda: layers.RotaryEmbedding(3), "head size must be even, got 3"),
        (lambda: layers.RotaryEmbedding(4, 0.0), "theta must be positive, got 0.0"),
        (
            lambda: layers.RelativePositionBias(2, 8, 4),
            "at least 2 buckets and a max_distance above.* got 8 and 4",
        ),
        (lambda: layers.RelativePositionBias(2, 3, 4, bidirectional=True), "got 1 and 4"),
        (lambda: block_config(4, activation="softplus"), "got 'softplus'"),
        (lambda: block_config(4, 2, norm="l2"), "norm must be one of .* got 'l2'"),
        (lambda: block_config(4, 2, norm_position="mid"), "pre, post, got 'mid'"),
        (lambda: layers.OutputHead(2, 3, layers.Linear(3, 2).weight), r"\(3, 2\), got \(2, 3\)"),
    ],
)
def test_a_layer_that_cannot_be_is_refused_by_it_or_its_config(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_state_dict_that_does_not_fit_changes_nothing():
    layer = layers.Linear(3, 2, rng=0)
    before = layer.weight.value.copy()
    good = {"weight": np.ones((2, 3)), "bias": np.ones(2)}
    for arrays, message in (
        ({"weight": good["weight"]}, "no array for bias"),
        ({**good, "gain": np.ones(1)}, "no parameter is named gain"),
        ({**good, "bias": np.ones(3)}, r"bias has shape \(2,\), the given array has \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            layer.load_state_dict(arrays)
        np.testing.assert_array_equal(layer.weight.value, before)
    layer.load_state_dict(good)
    np.testing.assert_array_equal(layer.weight.value, 1.0)


@pytest.mark.parametrize("name", [*LAYERS, "BatchNorm (evaluation)"])
def test_frozen_parameters_get_no_gradient_and_change_no_other(name, backend):
    def run(frozen):
        layer, inputs = example_of(name.removesuffix(" (evaluation)"), np.float64)
        if name.endswith("(evaluation)"):
            layer.eval()
        for i, parameter in enumerate(layer.trained_parameters()):
            parameter.freeze(i in frozen)
        dxs = backward(layer, normal(0, np.shape(layer.forward(*inputs)), np.float64))
        return dxs, [parameter.grad for parameter in layer.parameters()]

    dxs, grads = run(frozen=())
    trained = [i for i, grad in enumerate(grads) if grad is not None]
    for frozen in (range(len(grads)), range(0, len(grads), 2), range(1, len(grads), 2)):
        dxs_frozen, grads_frozen = run(frozen)
        for dx_frozen, dx in zip(dxs_frozen, dxs, strict=True):
            if dx is not None:
                np.testing.assert_allclose(dx_frozen, dx, rtol=0, atol=1e-12)
        for i, grad in zip(trained, (grads_frozen[i] for i in trained), strict=True):
            if trained.index(i) in frozen:
                assert grad is None
            else:
                np.testing.assert_allclose(grad, grads[i], rtol=0, atol=1e-12)

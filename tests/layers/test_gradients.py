"""Every layer's backward is the derivative of its forward, for drawn shapes, dtypes and values."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from npgpt import layers, ops
from npgpt.gradients import gradcheck
from npgpt.layers import Init
from tests.layers.configs import block_config
from tests.strategies import dtypes, normal, row_shapes, seeds

LIMITS = {"central": 1e-6, "complex": 1e-11}
methods = st.sampled_from(list(LIMITS))
backends = st.sampled_from(ops.BACKENDS)
sequences = st.tuples(st.integers(1, 3), st.integers(1, 6))  # batch, time
heads_and_sizes = st.tuples(st.integers(1, 3), st.integers(1, 4))


def check(layer, *inputs, seed, method, backend):
    """Move the parameters away from gains of 1 and biases of 0, which hide terms; then check."""
    for i, parameter in enumerate(layer.parameters()):
        parameter.value += normal(seed + i, parameter.shape, parameter.value.dtype, scale=0.3)
    with ops.use(backend):
        report = gradcheck(layer, *inputs, method=method, max_coordinates=25, seed=seed % 1000)
    assert report.tolerance == LIMITS[method]
    report.raise_if_failed()


@given(row_shapes(), st.integers(1, 7), st.booleans(), dtypes, seeds, methods, backends)
def test_linear(shape, d_out, bias, dtype, seed, method, backend):
    layer = layers.Linear(shape[-1], d_out, bias, rng=seed, dtype=dtype)
    check(layer, normal(seed, shape, dtype), seed=seed, method=method, backend=backend)


# rows of one feature: each gradient is 0, and backward leaves the rounding of two equal terms
@example((2, 1), False, np.float32, 1, "complex", "compiled")
@given(row_shapes(), st.booleans(), dtypes, seeds, methods, backends)
def test_layer_norm(shape, bias, dtype, seed, method, backend):
    # an eps of 0.01 keeps rows of one or two features, whose variance may be tiny, differentiable
    layer = layers.LayerNorm(shape[-1], eps=1e-2, bias=bias, dtype=dtype)
    check(layer, normal(seed, shape, dtype), seed=seed, method=method, backend=backend)


@given(row_shapes(), st.sampled_from(["tanh", "none"]), dtypes, seeds, methods, backends)
def test_gelu(shape, approximate, dtype, seed, method, backend):
    x = normal(seed, shape, dtype, scale=3.0)
    check(layers.GELU(approximate), x, seed=seed, method=method, backend=backend)


@given(row_shapes(), st.sampled_from([0.0, 0.3, 0.8]), dtypes, seeds, methods, backends)
def test_dropout(shape, p, dtype, seed, method, backend):
    layer = layers.Dropout(p, seed=seed)
    check(layer, normal(seed, shape, dtype), seed=seed, method=method, backend=backend)


@given(sequences, st.integers(1, 5), st.integers(1, 6), dtypes, seeds, methods, backends)
def test_embedding(shape, vocab_size, d_model, dtype, seed, method, backend):
    layer = layers.Embedding(vocab_size, d_model, rng=seed, dtype=dtype)
    ids = np.random.default_rng(seed).integers(0, vocab_size, shape)
    check(layer, ids, seed=seed, method=method, backend=backend)


@given(sequences, st.integers(0, 3), st.integers(1, 6), dtypes, seeds, methods, backends)
def test_position_embedding(shape, unused, d_model, dtype, seed, method, backend):
    layer = layers.PositionEmbedding(shape[1] + unused, d_model, rng=seed, dtype=dtype)
    x = normal(seed, (*shape, d_model), dtype)
    check(layer, x, seed=seed, method=method, backend=backend)


@given(
    sequences, heads_and_sizes, st.sampled_from([0.0, 0.4]), st.booleans(),
    dtypes, seeds, methods, backends,
)  # fmt: skip
def test_attention(shape, heads, dropout, bias, dtype, seed, method, backend):
    n_heads, head_size = heads
    config = block_config(n_heads * head_size, n_heads, dropout=dropout, bias=bias)
    layer = layers.MultiHeadAttention(config, Init(seed, dtype))
    x = normal(seed, (*shape, n_heads * head_size), dtype)
    check(layer, x, seed=seed, method=method, backend=backend)


@given(row_shapes(), st.integers(1, 9), st.booleans(), dtypes, seeds, methods, backends)
def test_feed_forward(shape, d_ff, bias, dtype, seed, method, backend):
    config = block_config(shape[-1], d_ff=d_ff, bias=bias)
    layer = layers.FeedForward(config, Init(seed, dtype))
    check(layer, normal(seed, shape, dtype), seed=seed, method=method, backend=backend)


@given(sequences, heads_and_sizes, st.sampled_from([0.0, 0.4]), dtypes, seeds, methods, backends)
def test_transformer_block(shape, heads, dropout, dtype, seed, method, backend):
    n_heads, head_size = heads
    config = block_config(n_heads * head_size, n_heads, dropout=dropout, layer_norm_eps=1e-2)
    layer = layers.TransformerBlock(config, Init(seed, dtype))
    x = normal(seed, (*shape, n_heads * head_size), dtype)
    check(layer, x, seed=seed, method=method, backend=backend)


@given(row_shapes(), st.integers(1, 7), st.booleans(), dtypes, seeds, methods, backends)
def test_output_head(shape, vocab_size, tied, dtype, seed, method, backend):
    table = layers.Embedding(vocab_size, shape[-1], rng=seed, dtype=dtype).weight
    layer = layers.OutputHead(shape[-1], vocab_size, table if tied else None, seed, dtype)
    check(layer, normal(seed, shape, dtype), seed=seed, method=method, backend=backend)


@given(row_shapes(), st.booleans(), dtypes, seeds, methods, backends)
def test_cross_entropy(shape, ignoring, dtype, seed, method, backend):
    targets = np.random.default_rng(seed).integers(0, shape[-1], shape[:-1])
    if ignoring:
        targets.reshape(-1)[1::2] = -100
    logits = normal(seed, shape, dtype, scale=3.0)
    check(layers.CrossEntropy(), logits, targets, seed=seed, method=method, backend=backend)


def test_the_attention_that_is_listened_to_has_the_same_gradient():
    """Listening takes the fused operation apart; outputs and gradients stay."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 2, 5, 6))
    results = []
    for listener in (None, AllEars()):
        layer = layers.MultiHeadAttention(block_config(6, 2, dropout=0.3), Init(5, np.float64))
        layer.listen(listener)
        y = layer.forward(x)
        results.append([y, layer.backward(dy), *(p.grad for p in layer.parameters())])
    for fused, in_steps in zip(*results, strict=True):
        np.testing.assert_allclose(fused, in_steps, atol=1e-13)


class AllEars:
    """A listener that keeps everything it hears."""

    def __init__(self):
        self.activations, self.gradients = {}, {}

    def wants(self, name):
        return True

    def on_activation(self, name, array):
        self.activations[name] = array
        return array

    def on_gradient(self, name, array):
        self.gradients[name] = array
        return array


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

"""Every rung's backward is the derivative of its forward, for drawn shapes, dtypes and values."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from npgpt import layers
from npgpt.layers import Init
from npgpt.layers.rungs.self_attention import MASKINGS
from tests.layers.configs import block_config
from tests.layers.test_gradients import backends, check, heads_and_sizes, methods, sequences
from tests.strategies import dtypes, normal, row_shapes, seeds


@given(row_shapes(), dtypes, seeds, methods, backends)
def test_rms_norm(shape, dtype, seed, method, backend):
    layer = layers.RMSNorm(shape[-1], eps=1e-2, dtype=dtype)
    check(layer, normal(seed, shape, dtype), seed=seed, method=method, backend=backend)


@given(
    st.tuples(st.integers(2, 5), st.integers(1, 6)), st.booleans(), dtypes, seeds, methods, backends
)
def test_batch_norm_while_training_and_in_evaluation(shape, training, dtype, seed, method, backend):
    layer = layers.BatchNorm(shape[-1], eps=1e-2, dtype=dtype)
    layer.forward(normal(seed + 9, (7, shape[-1]), dtype))
    layer.train(training)
    check(layer, normal(seed, shape, dtype), seed=seed, method=method, backend=backend)


@given(row_shapes(), st.sampled_from(["relu", "swiglu"]), dtypes, seeds, methods, backends)
def test_relu_and_swiglu(shape, name, dtype, seed, method, backend):
    layer = layers.ACTIVATIONS[name]()
    x = normal(seed, (*shape[:-1], 2 * shape[-1]), dtype)
    x += 0.05 * np.sign(x)  # away from ReLU's corner, which a central difference would straddle
    check(layer, x, seed=seed, method=method, backend=backend)


@given(
    row_shapes(), st.sampled_from(["gelu_exact", "swiglu"]), st.booleans(), dtypes, seeds, methods,
    backends,
)  # fmt: skip
def test_feed_forward_of_other_activations(shape, activation, bias, dtype, seed, method, backend):
    config = block_config(shape[-1], d_ff=5, bias=bias, activation=activation)
    layer = layers.FeedForward(config, Init(seed, dtype))
    check(layer, normal(seed, shape, dtype), seed=seed, method=method, backend=backend)


@given(sequences, st.integers(1, 3), st.integers(1, 3), dtypes, seeds, methods, backends)
def test_rotary(shape, heads, half, dtype, seed, method, backend):
    layer = layers.RotaryEmbedding(2 * half, theta=50.0)
    x = normal(seed, (shape[0], heads, shape[1], 2 * half), dtype)
    check(layer, x, seed=seed, method=method, backend=backend)


@given(sequences, st.integers(1, 6), dtypes, seeds, methods, backends)
def test_sinusoidal(shape, d_model, dtype, seed, method, backend):
    x = normal(seed, (*shape, d_model), dtype)
    check(layers.SinusoidalEmbedding(d_model), x, seed=seed, method=method, backend=backend)


@given(sequences, st.integers(1, 5), st.integers(1, 6), dtypes, seeds, methods, backends)
def test_one_hot_embedding(shape, vocab_size, d_model, dtype, seed, method, backend):
    layer = layers.OneHotEmbedding(vocab_size, d_model, rng=seed, dtype=dtype)
    ids = np.random.default_rng(seed).integers(0, vocab_size, shape)
    check(layer, ids, seed=seed, method=method, backend=backend)


@given(sequences, st.integers(1, 5), st.booleans(), dtypes, seeds, methods, backends)
def test_simplified_self_attention(shape, d_model, sums, dtype, seed, method, backend):
    layer = layers.SimplifiedSelfAttention("sum" if sums else "softmax")
    x = normal(seed, (*shape, d_model), dtype, scale=0.1 if sums else 1.0)
    x += dtype(sums)  # sums of rows stay away from 0
    check(layer, x, seed=seed, method=method, backend=backend)


@given(
    sequences, st.integers(1, 5), st.integers(1, 5), st.sampled_from(MASKINGS),
    st.sampled_from([0.0, 0.4]), st.booleans(), st.booleans(), dtypes, seeds, methods, backends,
)  # fmt: skip
def test_single_heads(
    shape, d_in, d_out, masking, dropout, bias, scale, dtype, seed, method, backend
):
    x = normal(seed, (*shape, d_in), dtype)
    whole = layers.SelfAttention(d_in, d_out, bias, scale, rng=seed, dtype=dtype)
    causal = layers.CausalSelfAttention(
        d_in, d_out, dropout, masking, bias, scale, seed=seed, rng=seed, dtype=dtype
    )
    for layer in (whole, causal):
        check(layer, x, seed=seed, method=method, backend=backend)


@given(sequences, heads_and_sizes, st.booleans(), dtypes, seeds, methods, backends)
def test_stacked_attention(shape, heads, bias, dtype, seed, method, backend):
    n_heads, head_size = heads
    d_model = n_heads * head_size
    layer = layers.StackedAttention(d_model, n_heads, bias=bias, rng=seed, dtype=dtype)
    x = normal(seed, (*shape, d_model), dtype)
    check(layer, x, seed=seed, method=method, backend=backend)


class Ears:
    """A listener that hears everything, so that no operation stays fused."""

    def wants(self, name):
        return True

    def on_activation(self, name, array):
        return array

    def on_gradient(self, name, array):
        return array


@given(
    shape=sequences, n_kv_heads=st.integers(1, 2), group=st.integers(1, 3), half=st.integers(1, 2),
    window=st.one_of(st.none(), st.integers(1, 7)), dropout=st.sampled_from([0.0, 0.4]),
    position=st.sampled_from(["none", "rope", "alibi", "t5"]), scale=st.booleans(),
    qkv_bias=st.booleans(), listening=st.booleans(), dtype=dtypes, seed=seeds, method=methods,
    backend=backends,
)  # fmt: skip
def test_attention_of_every_choice(
    shape, n_kv_heads, group, half, window, dropout, position, scale, qkv_bias, listening, dtype,
    seed, method, backend,
):  # fmt: skip
    n_heads = n_kv_heads * group
    config = block_config(
        2 * half * n_heads, n_heads, dropout=dropout, window=window, n_kv_heads=n_kv_heads,
        scale_scores=scale, qkv_bias=qkv_bias, position=position, relative_attention_num_buckets=4,
        relative_attention_max_distance=6,
    )  # fmt: skip
    layer = layers.MultiHeadAttention(config, Init(seed, dtype))
    x = normal(seed, (*shape, 2 * half * n_heads), dtype)
    if listening:  # gradcheck works on copies without listeners, so compare the two ways here
        results = []
        for listener in (None, Ears()):
            layer.listen(listener)
            layer.zero_grad()
            layer.dropout.step = 0
            y = layer.forward(x)
            dx = layer.backward(normal(seed + 1, x.shape, dtype))
            results.append([y, dx, *(p.grad.copy() for p in layer.parameters())])
        for fused, in_steps in zip(*results, strict=True):
            np.testing.assert_allclose(fused, in_steps, atol=2e-5 if dtype == np.float32 else 1e-12)
        layer.listen(None)
    check(layer, x, seed=seed, method=method, backend=backend)


@given(
    sequences, heads_and_sizes, st.sampled_from(["pre", "post"]), st.sampled_from(list(layers.NORMS)),
    st.booleans(), st.sampled_from([0.0, 0.4]), dtypes, seeds, methods, backends,
)  # fmt: skip
def test_blocks_of_every_norm_with_and_without_shortcuts(
    shape, heads, norm_position, norm, shortcut, dropout, dtype, seed, method, backend
):
    n_heads, head_size = heads
    config = block_config(
        n_heads * head_size, n_heads, dropout=dropout, layer_norm_eps=1e-2, norm=norm,
        norm_position=norm_position, shortcut=shortcut,
    )  # fmt: skip
    layer = layers.TransformerBlock(config, Init(seed, dtype))
    x = normal(seed, (*shape, n_heads * head_size), dtype)
    check(layer, x, seed=seed, method=method, backend=backend)

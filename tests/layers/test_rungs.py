"""What the rungs of the course are there to show."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import layers
from npgpt.layers import Init
from npgpt.ops import reference
from tests.layers.configs import block_config
from tests.strategies import normal, seeds


def shaken(layer, seed=0):
    for i, parameter in enumerate(layer.parameters()):
        parameter.value += normal(seed + i, parameter.shape, parameter.value.dtype, 0.3)
    return layer


def run(layer, x, dy):
    """Output, gradient of the input, and the parameters' gradients by name."""
    layer.zero_grad()
    y = layer.forward(x)
    dx = layer.backward(dy)
    return y, dx, {name: p.grad.copy() for name, p in layer.named_parameters()}


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@given(seeds, st.integers(1, 7), st.integers(1, 5))
def test_a_lookup_is_one_hot_vectors_times_the_table(seed, vocab_size, d_model):
    ids = np.random.default_rng(seed).integers(0, vocab_size, (2, 6))
    lookup = layers.Embedding(vocab_size, d_model, rng=seed, dtype=np.float64)
    product = layers.OneHotEmbedding(vocab_size, d_model, dtype=np.float64)
    product.linear.weight.value[...] = lookup.weight.value.T
    dy = normal(seed, (2, 6, d_model), np.float64)
    y, _, gradients = run(lookup, ids, dy)
    y_product, _, gradients_product = run(product, ids, dy)
    close(y, y_product)
    close(gradients["weight"], gradients_product["linear.weight"].T)


@given(seeds, st.integers(1, 7), st.sampled_from([0.0, 0.3]))
def test_both_forms_of_the_causal_mask_give_the_same_outputs_and_gradients(seed, time, dropout):
    x, dy = normal(seed, (2, 2, time, 4), np.float64)
    results = []
    for masking in ("scores", "weights"):
        layer = layers.CausalSelfAttention(
            4, 4, dropout, masking, qkv_bias=True, seed=seed, rng=seed, dtype=np.float64
        )
        results.append(run(shaken(layer), x, dy))
    for ours, theirs in zip(results[0][:2], results[1][:2], strict=True):
        close(ours, theirs)
    for name, gradient in results[0][2].items():
        close(gradient, results[1][2][name])


def test_a_mask_without_renormalising_leaks_the_future():
    """The first output must not depend on later tokens; with the leaking mask it does."""
    x = normal(0, (1, 5, 4), np.float64)
    other = x.copy()
    other[:, 1:] += 1.0
    for masking, leaks in (("scores", False), ("weights", False), ("leaking", True)):
        layer = shaken(layers.CausalSelfAttention(4, 4, masking=masking, rng=0, dtype=np.float64))
        weights = {}
        layer.listen(Keep(weights))
        first, changed = layer.forward(x)[:, 0], layer.forward(other)[:, 0]
        assert (np.abs(first - changed).max() > 1e-6) == leaks
        sums = weights["weights"].sum(axis=-1)
        assert (np.abs(sums - 1.0).max() > 1e-3) == leaks
        dx = layer.backward(np.eye(5)[0][None, :, None] * np.ones((1, 5, 4)))  # of the first output
        assert (np.abs(dx[:, 1:]).max() > 1e-9) == leaks


class Keep:
    def __init__(self, arrays):
        self.arrays = arrays

    def wants(self, name):
        return True

    def on_activation(self, name, array):
        self.arrays[name] = array
        return array

    def on_gradient(self, name, array):
        return array


@given(seeds, st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_stacked_heads_and_weight_splits_are_the_same_and_convert_both_ways(
    seed, n_heads, head_size, bias
):
    d_model = n_heads * head_size
    stack = layers.StackedAttention(d_model, n_heads, bias=bias, rng=seed, dtype=np.float64)
    split = shaken(stack, seed).to_multi_head()
    again = layers.StackedAttention.of_multi_head(split)
    x, dy = normal(seed, (2, 2, 5, d_model), np.float64)
    y, dx, gradients = run(stack, x, dy)
    y_split, dx_split, of_split = run(split, x, dy)
    y_again, dx_again, of_again = run(again, x, dy)
    close(y, y_split)
    close(dx, dx_split)
    close(y, y_again)
    close(dx, dx_again)
    for name, gradient in gradients.items():
        close(gradient, of_again[name])
    rows = [gradients[f"heads.{h}.{part}.weight"] for part in ("query", "key", "value")
            for h in range(n_heads)]  # fmt: skip
    close(np.concatenate(rows), of_split["qkv.weight"])


def test_a_stack_refuses_what_single_heads_do_not_have():
    layer = layers.MultiHeadAttention(block_config(4, 2, n_kv_heads=1))
    with pytest.raises(ValueError, match="single heads has no n_kv_heads"):
        layers.StackedAttention.of_multi_head(layer)


def test_sum_normalisation_gives_negative_and_unbounded_weights_where_softmax_does_not():
    scores = np.array([[1.0, -0.9, 0.1], [1.0, 2.0, 1.0]])
    by_sum, _ = reference.sum_normalise_forward(scores)
    by_softmax = reference.softmax_forward(scores)
    for weights in (by_sum, by_softmax):
        close(weights.sum(axis=-1), 1.0)
    assert by_sum.min() < 0
    assert by_sum.max() > 1
    assert ((by_softmax > 0) & (by_softmax < 1)).all()


def test_without_the_scale_the_scores_variance_is_d_k_and_the_softmax_saturates():
    largest, slopes = [], []
    for scale in (True, False):
        layer = layers.SelfAttention(256, 256, scale_scores=scale, rng=0, dtype=np.float64)
        for linear in (layer.query, layer.key):
            linear.weight.value[...] = normal(
                1 + (linear is layer.key), (256, 256), np.float64, 1 / 16
            )
        arrays = {}
        layer.listen(Keep(arrays))
        layer.forward(normal(3, (1, 64, 256), np.float64))
        assert np.isclose(arrays["scores"].var(), 1.0 if scale else 256.0, rtol=0.2)
        weights = arrays["weights"]
        largest.append(weights.max(axis=-1).mean())
        slopes.append((weights * (1 - weights)).mean())
    assert largest[0] < 0.2 < 0.8 < largest[1]
    assert slopes[1] < 0.2 * slopes[0]


def test_batch_norm_lets_a_position_see_the_future_and_layer_norm_does_not():
    x = normal(0, (2, 5, 4), np.float64)
    other = x.copy()
    other[:, 3:] += 1.0
    for kind, sees in (
        (layers.BatchNorm, True),
        (layers.LayerNorm, False),
        (layers.RMSNorm, False),
    ):
        layer = kind(4, dtype=np.float64)
        changed = np.abs(layer.forward(x)[:, :3] - layer.forward(other)[:, :3]).max()
        assert (changed > 1e-3) == sees


def test_batch_norm_refuses_a_single_row():
    with pytest.raises(ValueError, match=r"more than one row, got \(1, 4\)"):
        layers.BatchNorm(4).forward(np.ones((1, 4), np.float32))


@given(seeds, st.integers(0, 50))
def test_rotated_products_depend_on_the_distance_alone(seed, offset):
    layer = layers.RotaryEmbedding(6)
    q, k = normal(seed, (2, 1, 1, 1, 6), np.float64)
    many = np.repeat(q, 5, axis=2), np.repeat(k, 5, axis=2)  # the same vector at five positions
    scores = [layer.forward(many[0], o) @ layer.forward(many[1], o).swapaxes(-1, -2)
              for o in (0, offset)]  # fmt: skip
    close(scores[0], scores[1])
    for diagonal in range(-4, 5):
        of_one_distance = np.diagonal(scores[0][0, 0], diagonal)
        close(of_one_distance, of_one_distance[0])


@pytest.mark.parametrize("offset", [0, 3])
def test_positions_have_an_offset(offset):
    learned = layers.PositionEmbedding(8, 4, rng=0, dtype=np.float64)
    x = normal(0, (2, 8, 4), np.float64)
    for layer in (learned, layers.SinusoidalEmbedding(4)):
        whole = layer.forward(x)
        close(layer.forward(x[:, offset:], offset), whole[:, offset:])
    learned.forward(x[:, offset:], offset)
    learned.zero_grad()
    learned.backward(np.ones((2, 8 - offset, 4)))
    assert (learned.weight.grad[offset:] == 2.0).all()
    assert (learned.weight.grad[:offset] == 0.0).all()
    heads = normal(1, (1, 2, 8, 4), np.float64)
    rotary = layers.RotaryEmbedding(4)
    close(rotary.forward(heads[:, :, offset:], offset), rotary.forward(heads)[:, :, offset:])


def test_alibis_slopes_are_the_papers():
    close(reference.alibi_slopes(8), 2.0 ** -np.arange(1, 9))
    twelve = reference.alibi_slopes(12)  # 8 heads' slopes, then every other one of 16's
    close(twelve[:8], reference.alibi_slopes(8))
    close(twelve[8:], reference.alibi_slopes(16)[:8:2])
    close(layers.ALiBi(2).forward(3, np.float64), -np.outer(twelve[[3, 7]], [0, 1, 2]))


def test_t5s_buckets_are_exact_then_logarithmic():
    buckets = reference.relative_buckets(np.arange(400))
    assert buckets[:16].tolist() == list(range(16))
    assert (np.diff(buckets) >= 0).all()
    assert buckets[112] < buckets[113] == buckets[399] == 31
    # of the published formula, at a few distances
    assert buckets[[16, 20, 32, 64, 100]].tolist() == [16, 17, 21, 26, 30]


def test_biases_of_both_sides_begin_at_the_farthest_key_after_the_query():
    alibi = layers.ALiBi(2)
    close(alibi.forward(3, np.float64, time=3), -np.outer(alibi.slopes, [2, 1, 0, 1, 2]))
    t5 = layers.RelativePositionBias(2, 8, 6, rng=0, dtype=np.float64, bidirectional=True)
    bias = t5.forward(4, time=3)  # distances -2 to 3; 4 buckets a side, of which 2 are exact
    close(bias, t5.weight.value[[6, 5, 0, 1, 2, 2]].T)
    t5.backward(np.arange(12.0).reshape(2, 6))
    expected = np.zeros((8, 2))
    expected[[6, 5, 0, 1, 2]] = [[0, 6], [1, 7], [2, 8], [3, 9], [4 + 5, 10 + 11]]
    close(t5.weight.grad, expected)


def test_a_window_hides_what_lies_before_it():
    x = normal(0, (1, 9, 4), np.float64)
    other = x.copy()
    other[:, :5] += 1.0
    layer = shaken(layers.MultiHeadAttention(block_config(4, 2, window=3), Init(0, np.float64)))
    y, changed = layer.forward(x), layer.forward(other)
    assert np.abs(y[:, 6] - changed[:, 6]).max() > 1e-6
    close(y[:, 7:], changed[:, 7:])


def test_shared_heads_are_repeated_ones():
    """Grouped attention is full attention whose key and value weights are repeated."""
    configs = block_config(12, 6, n_kv_heads=2), block_config(12, 6)
    grouped, full = (layers.MultiHeadAttention(c, Init(0, np.float64)) for c in configs)
    shaken(grouped)
    for name, parameter in full.named_parameters():
        value = dict(grouped.named_parameters())[name].value
        if name.startswith("qkv"):
            q, k, v = np.split(value, [12, 16])
            k, v = (
                np.repeat(x.reshape(2, 2, *x.shape[1:]), 3, axis=0).reshape(q.shape) for x in (k, v)
            )
            value = np.concatenate([q, k, v])
        parameter.value[...] = value
    x = normal(1, (2, 5, 12), np.float64)
    close(grouped.forward(x), full.forward(x))


def test_the_steps_of_a_split_are_told_with_their_shapes():
    layer = layers.MultiHeadAttention(block_config(8, 4, n_kv_heads=2, position="rope"))
    text = layers.explain_shapes(layer, np.zeros((3, 5, 8), np.float32))
    for line in ("(3, 5, 16)", "(3, 8, 5, 2)", "q_rotated", "weights", "(3, 4, 5, 5)"):
        assert line in text
    assert layer.listener is None

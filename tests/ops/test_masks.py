"""Which keys a query sees: causal or not, windows, lengths, queries and keys of any number."""

import math
import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import ops
from npgpt.ops import Mask, compiled, reference
from npgpt.ops.compiled.attention import BLOCK_ROWS, STRIP
from npgpt.ops.mask import CAUSAL
from npgpt.ops.reference import attention as reference_attention
from npgpt.testing import dtypes
from tests.mutations import mutated
from tests.ops.test_compiled_equals_reference import assert_same
from tests.strategies import assert_close, keys, normal, probabilities, seeds

BORDERS = sorted({n + d for n in (BLOCK_ROWS, STRIP, 2 * STRIP) for d in (-1, 0, 1)})
few = st.integers(1, 9)
many = st.one_of(few, st.sampled_from(BORDERS), st.integers(60, 140))


@st.composite
def masks(draw, batch, time, n_keys):
    """Any mask; windows and lengths may leave a query, or all of them, without a key."""
    window = draw(st.one_of(st.none(), st.integers(1, max(time, n_keys) + 1)))
    length = st.integers(0, n_keys + 1)  # one too many is all of them
    lengths = st.lists(length, min_size=batch, max_size=batch).map(np.array)
    return Mask(draw(st.booleans()), window, draw(st.one_of(st.none(), lengths)))


@st.composite
def attentions(draw, sizes):
    """A mask and shapes: batch, heads, heads of keys and values, queries, keys, head size."""
    batch, n_kv_heads, group = draw(st.tuples(st.integers(1, 2), *[st.integers(1, 3)] * 2))
    time, n_keys, head_size = draw(sizes), draw(sizes), draw(st.integers(1, 5))
    mask = draw(masks(batch, time, n_keys))
    return mask, (batch, n_kv_heads * group, n_kv_heads, time, n_keys, head_size)


def drawn(case, seed, dtype, biased=True):
    """Draw dy, q, k, v and a bias that has a column for each distance."""
    mask, (batch, heads, n_kv_heads, time, n_keys, head_size) = case
    dy, q = normal(seed, (2, batch, heads, time, head_size), dtype)
    k, v = normal(seed + 1, (2, batch, n_kv_heads, n_keys, head_size), dtype)
    columns = n_keys if mask.causal else time + n_keys - 1
    return dy, q, k, v, normal(seed + 2, (heads, columns), dtype) if biased else None


def is_seen(mask, b, t, s, time, n_keys):
    """Say it in words: whether query t of sequence b may see key s."""
    position = n_keys - time + t
    there = mask.lengths is None or s < mask.lengths[b]
    not_after = not mask.causal or s <= position
    near = mask.window is None or abs(position - s) < mask.window
    return there and not_after and near


def written_out(case, q, k, v, bias, scale):
    """Attention one query and one key at a time."""
    mask, (batch, heads, n_kv_heads, time, n_keys, _) = case
    y, lse = np.zeros_like(q), np.full((*q.shape[:-1], 1), np.inf)
    for b, h, t in product(range(batch), range(heads), range(time)):
        shared = h * n_kv_heads // heads
        total = 0.0
        for s in range(n_keys):
            if not is_seen(mask, b, t, s, time, n_keys):
                continue
            distance = n_keys - time + t - s
            column = distance if mask.causal else distance + time - 1
            score = scale * (q[b, h, t] @ k[b, shared, s])
            weight = math.exp(score if bias is None else score + bias[h, column])
            total += weight
            y[b, h, t] += weight * v[b, shared, s]
        if total > 0.0:
            y[b, h, t] /= total
            lse[b, h, t] = math.log(total)
    return y, lse


@given(attentions(st.integers(1, 6)), seeds, st.booleans())
def test_attention_is_a_weighted_mean_of_the_keys_that_a_mask_shows(case, seed, biased):
    _, q, k, v, bias = drawn(case, seed, np.float64, biased)
    y, lse = written_out(case, q, k, v, bias, 0.4)
    for backend in (reference, compiled):
        ours = backend.attention_forward(q, k, v, scale=0.4, mask=case[0], bias=bias)
        assert_close(ours[0], y, 1e-12, "the context")
        np.testing.assert_allclose(ours[1], lse, rtol=0, atol=1e-12)


@given(attentions(many), seeds, st.booleans(), dtypes, probabilities, keys)
def test_compiled_attention_is_the_reference(case, seed, biased, dtype, p, key):
    dy, q, k, v, bias = drawn(case, seed, dtype, biased)
    choices = {"scale": q.shape[-1] ** -0.5, "mask": case[0], "p": p, "key": key, "bias": bias}
    assert_same("attention_forward", dtype, q, k, v, **choices)
    y, lse = reference.attention_forward(q, k, v, **choices)
    if biased:
        choices |= {"dbias": np.ones_like(bias), "in_place": ("dbias",)}
    assert_same("attention_backward", dtype, dy, q, k, v, y, lse, **choices)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("n_keys", BORDERS)
@pytest.mark.parametrize("time", BORDERS)
def test_compiled_attention_is_the_reference_at_the_borders_of_blocks(time, n_keys, causal):
    for window, length in product((None, STRIP - 1, STRIP, STRIP + 1), (0, STRIP, n_keys - 1)):
        case = Mask(causal, window, np.array([length, n_keys])), (2, 1, 1, time, n_keys, 3)
        dy, q, k, v, bias = drawn(case, 0, np.float64)
        choices = {"scale": 0.5, "mask": case[0], "bias": bias}
        assert_same("attention_forward", np.float64, q, k, v, **choices)
        y, lse = reference.attention_forward(q, k, v, **choices)
        choices |= {"dbias": np.zeros_like(bias), "in_place": ("dbias",)}
        assert_same("attention_backward", np.float64, dy, q, k, v, y, lse, **choices)


@given(attentions(st.integers(1, 5)), seeds, st.sampled_from([0.0, 0.4]))
def test_gradients_are_those_of_a_complex_step(case, seed, p):
    """Along a drawn direction of each input: ``imag f(x + i h u) / h`` has no rounding of its own."""
    dy, *inputs = drawn(case, seed, np.float64)
    choices = {"scale": 0.4, "mask": case[0], "p": p, "key": ops.DropoutKey(seed, 0, 0)}

    def attend(q, k, v, bias):
        return reference.attention_forward(q, k, v, bias=bias, **choices)

    *qkv, bias = inputs
    dbias = np.zeros_like(bias)
    y, lse = attend(*inputs)
    gradients = reference.attention_backward(dy, *qkv, y, lse, bias=bias, dbias=dbias, **choices)
    for i, gradient in enumerate((*gradients, dbias)):
        direction = normal(seed + 9 + i, gradient.shape, np.float64)
        stepped = [x + 1e-30j * direction if i == j else x for j, x in enumerate(inputs)]
        derivative = (dy * attend(*stepped)[0].imag).sum() / 1e-30
        assert_close(np.sum(gradient * direction), derivative, 1e-11, "qkvb"[i])


@given(attentions(st.integers(1, 9)), seeds, dtypes)
def test_a_query_that_sees_no_key_has_context_0_and_sends_no_gradient(case, seed, dtype):
    mask, (batch, _, _, time, n_keys, _) = case
    dy, q, k, v, _ = drawn(case, seed, dtype)
    hidden = ~reference_attention.mask_seen(mask, time, n_keys).any(axis=-1)
    hidden = np.broadcast_to(hidden, (batch, q.shape[1], time))
    for backend in (reference, compiled):
        y, lse = backend.attention_forward(q, k, v, scale=0.4, mask=mask)
        assert (y[hidden] == 0.0).all()
        np.testing.assert_array_equal(np.isposinf(lse[..., 0]), hidden)
        gradients = backend.attention_backward(dy, q, k, v, y, lse, scale=0.4, mask=mask)
        assert (gradients[0][hidden] == 0.0).all()
        # nor does it matter for the keys what comes to it
        changed = np.where(hidden[..., None], dtype(7.0), dy)
        others = backend.attention_backward(changed, q, k, v, y, lse, scale=0.4, mask=mask)
        for gradient, other in zip(gradients, others, strict=True):
            np.testing.assert_array_equal(gradient, other)


def test_what_lies_beyond_the_lengths_is_not_read_and_has_no_gradient(backend):
    mask = Mask(causal=False, lengths=np.array([3, 0, 80]))
    dy, q, k, v = normal(0, (4, 3, 2, 80, 4), np.float32)
    before = ops.attention_forward(q, k, v, scale=0.5, mask=mask)
    for row, length in enumerate(mask.lengths):
        k[row, :, length:], v[row, :, length:] = 99.0, -99.0
    after = ops.attention_forward(q, k, v, scale=0.5, mask=mask)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    _, dk, dv = ops.attention_backward(dy, q, k, v, *after, scale=0.5, mask=mask)
    for row, length in enumerate(mask.lengths):
        for gradient in (dk, dv):
            assert (gradient[row, :, length:] == 0.0).all()
            assert (gradient[row, :, :length] != 0.0).all()


def test_queries_after_a_past_are_the_last_rows_of_the_whole(backend):
    q, k, v = normal(0, (3, 2, 2, 9, 4), np.float64)
    for causal in (True, False):
        bias = normal(1, (2, 9 if causal else 17), np.float64)
        mask = Mask(causal, window=4)
        whole, _ = ops.attention_forward(q, k, v, scale=0.5, mask=mask, bias=bias)
        rest, _ = ops.attention_forward(q[:, :, 6:], k, v, scale=0.5, mask=mask, bias=bias[:, -11:])
        assert_close(rest, whole[:, :, 6:], 1e-14, "the last three rows")


def test_a_bias_that_lacks_a_distance_is_refused(backend):
    q, k = normal(0, (1, 2, 4, 3), np.float64), normal(1, (1, 2, 5, 3), np.float64)
    for mask, columns, first in ((CAUSAL, 5, 0), (Mask(causal=False), 8, -3)):
        bias = np.zeros((2, columns - 1))
        with pytest.raises(ValueError, match=f"distance from {first} to 4, got {columns - 1}"):
            ops.attention_forward(q, k, k, scale=1.0, mask=mask, bias=bias)


@pytest.mark.parametrize(
    "mask", [CAUSAL, Mask(causal=False), Mask(False, 9), Mask(False, None, np.array([900]))]
)
def test_memory_grows_with_time_and_not_with_its_square(mask):
    def peak(time):
        q, dy = normal(0, (2, 1, 1, time, 4), np.float32)
        tracemalloc.start()
        y, lse = compiled.attention_forward(q, q, q, scale=0.5, mask=mask)
        compiled.attention_backward(dy, q, q, q, y, lse, scale=0.5, mask=mask)
        at_most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return at_most

    peak(1024)  # compiles
    assert peak(4096) < 4.5 * peak(1024)
    assert peak(4096) < 4096 * 4096


MUTANTS = [
    ("mask_seen", "mask.lengths is not None", "False"),
    ("mask_seen", "distance >= -after", "distance >= 0"),
    ("mask_seen", "distance <= before", "distance >= -after"),
    ("distance_bias_forward", "- scores.shape[-1]", "- scores.shape[-1] - 1"),
    ("distance_bias_backward", "- dscores.shape[-1]", "- dscores.shape[-1] - 1"),
]


@pytest.mark.parametrize(("name", "old", "new"), MUTANTS)
def test_a_dropped_term_of_a_mask_is_noticed(name, old, new):
    case = Mask(False, 3, np.array([4, 6])), (2, 2, 1, 5, 6, 3)
    dy, q, k, v, bias = drawn(case, 0, np.float64)
    choices = {"scale": 0.5, "mask": case[0], "bias": bias}
    expected = written_out(case, q, k, v, bias, 0.5)

    def check():
        ours = reference.attention_forward(q, k, v, **choices)
        np.testing.assert_allclose(ours[0], expected[0], atol=1e-12)
        assert_same("attention_forward", np.float64, q, k, v, **choices)
        gradient = {"dbias": np.zeros_like(bias), "in_place": ("dbias",)}
        assert_same("attention_backward", np.float64, dy, q, k, v, *expected, **choices, **gradient)

    check()
    with mutated(getattr(reference_attention, name), old, new), pytest.raises(AssertionError):
        check()


def test_a_mask_that_sees_as_far_ahead_as_back_if_causal_is_noticed():
    case = CAUSAL, (1, 1, 1, 5, 5, 3)
    _, q, k, v, _ = drawn(case, 0, np.float64)
    with mutated(Mask.reach, "0 if self.causal else before", "before"):
        ours, _ = reference.attention_forward(q, k, v, scale=0.5)
    assert np.abs(ours - written_out(case, q, k, v, None, 0.5)[0]).max() > 1e-3


@pytest.mark.parametrize("window", [None, 2])
def test_causal_scores_are_scores_under_a_causal_mask(window):
    q, k = np.random.default_rng(0).standard_normal((2, 2, 3, 4, 5))
    scores = reference.causal_scores_forward(q, k, 0.5, window)
    hidden = np.triu(np.ones((4, 4), bool), 1) | np.tril(np.ones((4, 4), bool), -(window or 4))
    np.testing.assert_array_equal(scores, np.where(hidden, -np.inf, 0.5 * (q @ k.swapaxes(-1, -2))))
    dscores = np.where(hidden, 0.0, scores)
    dq, dk = reference.causal_scores_backward(dscores, q, k, 0.5)
    np.testing.assert_allclose(dq, 0.5 * dscores @ k, atol=1e-14)
    np.testing.assert_allclose(dk, 0.5 * dscores.swapaxes(-1, -2) @ q, atol=1e-14)

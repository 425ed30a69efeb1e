"""What the specification itself promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import ops
from npgpt.ops import reference
from npgpt.ops.reference.dropout import philox
from npgpt.ops.reference.erf import erf
from tests.strategies import head_shapes, keys, normal, row_shapes, seeds

# Known answers of Philox4x32-10 from the Random123 library (Salmon et al. 2011): counter, key, words
PHILOX_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), PHILOX_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    assert [int(word) for word in philox(words(counter), words(key))] == words(answer)


@given(st.floats(-30, 30))
def test_erf_on_the_real_line(x):
    assert abs(float(erf(np.array([x]))[0]) - math.erf(x)) < 1e-15


@given(st.floats(-5, 5))
def test_erf_has_the_right_complex_derivative(x):
    derivative = float(erf(np.array([x + 1e-20j]))[0].imag / 1e-20)
    exact = 2.0 / math.sqrt(math.pi) * math.exp(-x * x)
    assert abs(derivative - exact) <= 1e-13 * max(1.0, exact)


@given(row_shapes(), seeds)
def test_softmax_rows_are_distributions_and_ignore_a_shift(shape, seed):
    scores = normal(seed, shape, np.float64, scale=50.0)
    weights = reference.softmax_forward(scores)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(reference.softmax_forward(scores + 1e3), weights, atol=1e-11)


@given(row_shapes(), seeds)
def test_layer_norm_rows_have_mean_0_and_variance_1(shape, seed):
    x = normal(seed, (*shape[:-1], shape[-1] + 2), np.float64, scale=7.0) + 3.0
    ones, zeros = np.ones(x.shape[-1]), np.zeros(x.shape[-1])
    y, _, _ = reference.layer_norm_forward(x, ones, zeros, 1e-12)
    np.testing.assert_allclose(y.mean(axis=-1), 0.0, atol=1e-10)
    np.testing.assert_allclose(y.var(axis=-1), 1.0, atol=1e-6)


@given(head_shapes(), seeds)
def test_attention_never_sees_the_future(shape, seed):
    with ops.use("compiled"):
        for attention in (reference.attention_forward, ops.attention_forward):
            q, k, v = normal(seed, (3, *shape), np.float64)
            before, _ = attention(q, k, v, scale=0.5)
            for array in (q, k, v):
                array[:, :, -1] = 99.0  # only the last position changes
            after, _ = attention(q, k, v, scale=0.5)
            np.testing.assert_array_equal(before[:, :, :-1], after[:, :, :-1])


@given(head_shapes(), seeds)
def test_attention_gives_the_future_no_gradient(shape, seed):
    q, k, v, dy = normal(seed, (4, *shape), np.float64)
    dy[:, :, 1:] = 0.0  # only the first output matters, which sees the first position alone
    y, lse = reference.attention_forward(q, k, v, scale=0.5)
    for gradient in reference.attention_backward(dy, q, k, v, y, lse, scale=0.5):
        np.testing.assert_array_equal(gradient[:, :, 1:], 0.0)


def test_a_mask_drops_the_share_it_should_and_keeps_the_mean():
    for p in (0.1, 0.5, 0.9):
        mask = reference.dropout_mask((400, 501), p, ops.DropoutKey(7, 1, 2), np.float64)
        deviation = math.sqrt(p * (1 - p) / mask.size)
        assert abs((mask == 0).mean() - p) < 5 * deviation
        assert abs(mask.mean() - 1.0) < 5 * deviation / (1 - p)
        assert set(np.unique(mask)) == {0.0, 1.0 / (1.0 - p)}


@given(keys, st.integers(1, 30), st.integers(1, 30))
def test_a_mask_does_not_depend_on_how_many_columns_are_drawn(key, rows, columns):
    wide = reference.dropout_mask((rows, columns + 7), 0.5, key, np.float64)
    narrow = reference.dropout_mask((rows, columns), 0.5, key, np.float64)
    np.testing.assert_array_equal(wide[:, :columns], narrow)


def test_seed_stream_and_step_each_give_another_mask():
    base = ops.DropoutKey(seed=1, stream=2, step=3)
    others = [base._replace(seed=9), base._replace(stream=9), base._replace(step=9)]
    others.append(base._replace(seed=1 + 2**40))  # the upper half of the seed counts too
    masks = [reference.dropout_mask((20, 20), 0.5, key, np.float64) for key in [base, *others]]
    assert len({mask.tobytes() for mask in masks}) == 5


def test_nan_goes_through(backend):
    x = np.array([[0.5, np.nan, 1.0]], np.float32)
    loss, _ = ops.cross_entropy_forward(x, np.array([0]))
    assert np.isnan(loss)
    assert np.isnan(ops.gelu_tanh_forward(x)[0, 1])
    q = np.ones((1, 1, 3, 3), np.float32) * x
    assert np.isnan(ops.attention_forward(q, q, q, scale=1.0)[0]).any()


def test_parameter_gradients_are_added_to(backend):
    x = normal(0, (4, 3), np.float64)
    once, twice = np.zeros((5, 3)), np.zeros((5, 3))
    weight, dy = normal(1, (5, 3), np.float64), normal(2, (4, 5), np.float64)
    ops.linear_backward(dy, x, weight, dweight=once)
    for _ in range(2):
        ops.linear_backward(dy, x, weight, dweight=twice)
    np.testing.assert_allclose(twice, 2.0 * once)


def test_the_backend_comes_back_after_an_exception():
    with ops.use("reference"):
        with pytest.raises(KeyError), ops.use("compiled"):
            assert ops.backend() == "compiled"
            raise KeyError
        assert ops.backend() == "reference"
        assert ops.gelu_tanh_forward is reference.gelu_tanh_forward


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="no backend 'cuda'; choose one of compiled, reference"):
        ops.use("cuda")

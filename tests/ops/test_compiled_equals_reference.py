"""Every compiled operation gives what its reference gives, to rounding."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.ops import compiled, reference
from tests.strategies import (
    TOLERANCE,
    assert_close,
    dtypes,
    head_shapes,
    keys,
    normal,
    probabilities,
    row_shapes,
    seeds,
)


def assert_same(name, dtype, *arguments, in_place=()):
    """Run both forms on copies; compare results and the arrays changed in place."""
    outcomes = []
    for backend in (compiled, reference):
        own = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        result = getattr(backend, name)(*own)
        results = list(result) if isinstance(result, tuple) else [result]
        outcomes.append([r for r in results if r is not None] + [own[i] for i in in_place])
    for ours, expected in zip(*outcomes, strict=True):
        assert np.asarray(ours).dtype == np.asarray(expected).dtype
        assert_close(ours, expected, TOLERANCE[np.dtype(dtype)], name)


@pytest.mark.parametrize("name", compiled.__all__)
def test_compiled_forms_have_the_names_and_arguments_of_the_reference(name):
    ours, expected = getattr(compiled, name), getattr(reference, name)
    assert inspect.signature(ours) == inspect.signature(expected)
    assert ours.__doc__ == expected.__doc__


@given(row_shapes(), dtypes, seeds, st.sampled_from(["tanh", "exact"]))
def test_gelu(shape, dtype, seed, form):
    x, dy = normal(seed, (2, *shape), dtype, scale=3.0)
    assert_same(f"gelu_{form}_forward", dtype, x)
    assert_same(f"gelu_{form}_backward", dtype, dy, x)


@given(row_shapes(), dtypes, seeds, st.booleans())
def test_layer_norm(shape, dtype, seed, has_beta):
    x, dy = normal(seed, (2, *shape), dtype)
    gamma, beta, dgamma, dbeta = normal(seed + 1, (4, shape[-1]), dtype)
    assert_same("layer_norm_forward", dtype, x, gamma, beta if has_beta else None, 1e-2)
    _, mean, rstd = reference.layer_norm_forward(x, gamma, beta, 1e-2)
    arguments = [dy, x, mean, rstd, gamma, dgamma]
    if has_beta:
        assert_same("layer_norm_backward", dtype, *arguments, dbeta, in_place=(5, 6))
    else:
        assert_same("layer_norm_backward", dtype, *arguments, None, in_place=(5,))


@given(head_shapes(), dtypes, seeds, probabilities, keys)
def test_attention(shape, dtype, seed, p, key):
    q, k, v, dy = normal(seed, (4, *shape), dtype)
    scale = shape[-1] ** -0.5
    assert_same("attention_forward", dtype, q, k, v, scale, p, key)
    y, lse = reference.attention_forward(q, k, v, scale, p, key)
    assert_same("attention_backward", dtype, dy, q, k, v, y, lse, scale, p, key)


@given(row_shapes(), dtypes, seeds, st.booleans())
def test_cross_entropy(shape, dtype, seed, ignoring):
    logits = normal(seed, shape, dtype, scale=4.0)
    targets = np.random.default_rng(seed).integers(0, shape[-1], shape[:-1])
    if ignoring:
        targets.reshape(-1)[::2] = -100
        targets.reshape(-1)[0] = 0
    assert_same("cross_entropy_forward", dtype, logits, targets)
    _, lse = reference.cross_entropy_forward(logits, targets)
    assert_same("cross_entropy_backward", dtype, dtype(0.7), logits, targets, lse)


@given(row_shapes(), dtypes, seeds, st.integers(1, 5))
def test_embedding_scatter_with_repeated_ids(shape, dtype, seed, vocab_size):
    dy = normal(seed, shape, dtype)
    ids = np.random.default_rng(seed).integers(0, vocab_size, shape[:-1])
    dweight = normal(seed, (vocab_size, shape[-1]), dtype)
    assert_same("embedding_backward", dtype, dy, ids, dweight, in_place=(2,))


@given(row_shapes(), dtypes, seeds, probabilities, keys)
def test_dropout_masks_are_the_same_bit_for_bit(shape, dtype, seed, p, key):
    x = normal(seed, shape, dtype)
    for name in ("dropout_forward", "dropout_backward"):
        ours, expected = getattr(compiled, name)(x, p, key), getattr(reference, name)(x, p, key)
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(
        compiled.dropout_mask(shape, p, key, np.dtype(dtype)),
        reference.dropout_mask(shape, p, key, np.dtype(dtype)),
    )


@given(row_shapes(), dtypes, seeds, st.integers(1, 1000), st.sampled_from(["adam", "adamw"]))
def test_optimiser_updates(shape, dtype, seed, step, name):
    value, grad, m, v = normal(seed, (4, *shape), dtype)
    numbers = (step, 1e-2, 0.9, 0.99, 1e-8, 0.1)
    assert_same(f"{name}_update", dtype, value, grad, m, v * v, *numbers, in_place=(0, 2, 3))


@given(st.integers(1, 40_000), dtypes, seeds)
def test_sum_of_squares(size, dtype, seed):
    assert_same("sum_of_squares", np.float32, normal(seed, size, dtype))


@given(dtypes, seeds)
def test_arrays_that_are_not_contiguous(dtype, seed):
    x = normal(seed, (6, 5, 4), dtype).transpose(2, 1, 0)[:, ::2]
    gamma, beta = normal(seed, (2, 6), dtype)
    assert_same("gelu_tanh_forward", dtype, x)
    assert_same("layer_norm_forward", dtype, x, gamma, beta, 1e-5)
    q = normal(seed, (2, 7, 3, 4), dtype).transpose(0, 2, 1, 3)
    assert_same("attention_forward", dtype, q, q, q, 0.5)
    for name in ("adam", "adamw"):
        results = []
        for backend in (compiled, reference):
            value, grad, m, v = normal(seed, (4, 6, 4), dtype).transpose(0, 2, 1)
            getattr(backend, f"{name}_update")(value, grad, m, v * v, 3, 0.1, 0.9, 0.99, 1e-8, 0.1)
            results.append(value)
        assert_close(*results, TOLERANCE[np.dtype(dtype)], "an update in place is not lost")


def test_complex_numbers_go_to_the_reference():
    x = normal(0, (3, 5), np.float64) + 1e-20j
    gamma = np.ones(5, np.complex128)
    y, _, _ = compiled.layer_norm_forward(x, gamma, gamma, 1e-5)
    np.testing.assert_array_equal(y, reference.layer_norm_forward(x, gamma, gamma, 1e-5)[0])


def test_a_result_does_not_depend_on_the_number_of_threads():
    import numba

    x, dy = normal(0, (2, 101, 33), np.float32)
    gamma = np.ones(33, np.float32)
    _, mean, rstd = compiled.layer_norm_forward(x, gamma, gamma, 1e-5)
    q = normal(1, (2, 3, 17, 8), np.float32)
    outcomes = []
    available = numba.get_num_threads()
    try:
        for threads in (1, available):
            numba.set_num_threads(threads)
            dgamma, dbeta = np.zeros((2, 33), np.float32)
            dx = compiled.layer_norm_backward(dy, x, mean, rstd, gamma, dgamma, dbeta)
            y, lse = compiled.attention_forward(q, q, q, 0.3)
            dq, dk, dv = compiled.attention_backward(y, q, q, q, y, lse, 0.3)
            outcomes.append([dx, dgamma, dbeta, y, dq, dk, dv, compiled.sum_of_squares(x)])
    finally:
        numba.set_num_threads(available)
    for one, several in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(one, several)

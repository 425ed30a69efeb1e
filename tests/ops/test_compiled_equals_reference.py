"""Every compiled operation gives what its reference gives, to rounding."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.ops import compiled, reference
from npgpt.testing import dtypes
from tests.strategies import (
    TOLERANCE,
    assert_close,
    batches,
    keys,
    normal,
    probabilities,
    row_shapes,
    seeds,
    times,
    widths,
)

compared = set()  # names of operations that `assert_same` was called with in this file


def assert_same(name, dtype, *arguments, in_place=(), **choices):
    """Run both forms on copies; compare results and the arrays changed in place.

    ``in_place`` holds places of arguments and names of choices.
    """
    outcomes = []
    if sys._getframe(1).f_globals is globals():
        compared.add(name)
    for backend in (compiled, reference):
        given = {**dict(enumerate(arguments)), **choices}
        own = {n: a.copy() if isinstance(a, np.ndarray) else a for n, a in given.items()}
        positional = [own[i] for i in range(len(arguments))]
        result = getattr(backend, name)(*positional, **{n: own[n] for n in choices})
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


@given(row_shapes(), dtypes, seeds)
def test_add(shape, dtype, seed):
    x, y = normal(seed, (2, *shape), dtype)
    assert_same("add", dtype, x, y)


@given(row_shapes(), dtypes, seeds, probabilities, keys)
def test_dropout_add(shape, dtype, seed, p, key):
    x, branch = normal(seed, (2, *shape), dtype)
    assert_same("dropout_add_forward", dtype, x, branch, p, key)
    assert_same("dropout_add_forward", dtype, x, branch, 0.0, None)


@given(row_shapes(), dtypes, seeds, st.integers(1, 20), st.booleans(), st.booleans())
def test_linear(shape, dtype, seed, d_out, has_bias, overwrite):
    x, dy = normal(seed, shape, dtype), normal(seed + 1, (*shape[:-1], d_out), dtype)
    weight, dweight = normal(seed + 2, (2, d_out, shape[-1]), dtype)
    bias, dbias = normal(seed + 3, (2, d_out), dtype)
    assert_same("linear_forward", dtype, x, weight, bias if has_bias else None)
    gradients = {"dweight": dweight, "dbias": dbias} if has_bias else {"dweight": dweight}
    choices = {**gradients, "overwrite": overwrite, "in_place": gradients}
    assert_same("linear_backward", dtype, dy, x, weight, **choices)
    assert_same("linear_backward", dtype, dy, x, weight, dbias=dbias, in_place=("dbias",))


@given(row_shapes(), dtypes, seeds, st.integers(1, 5), st.booleans())
def test_embedding_lookup(shape, dtype, seed, vocab_size, has_rows):
    *leading, time, width = (1, *shape)
    ids = np.random.default_rng(seed).integers(0, vocab_size, (*leading, time))
    weight = normal(seed, (vocab_size, width), dtype)
    rows = normal(seed + 1, (time, width), dtype) if has_rows else None
    assert_same("embedding_forward", dtype, ids, weight, rows)


smoothings = st.sampled_from([0.0, 0.1, 1.0])


@given(
    row_shapes(), dtypes, seeds, st.integers(2, 9), st.booleans(), st.booleans(), smoothings,
    st.booleans(),
)  # fmt: skip
def test_head_cross_entropy(
    shape, dtype, seed, vocab_size, ignoring, overwrite, smoothing, has_bias
):
    x = normal(seed, shape, dtype)
    weight, dweight = normal(seed + 1, (2, vocab_size, shape[-1]), dtype)
    targets = np.random.default_rng(seed).integers(0, vocab_size, shape[:-1])
    choices = {"label_smoothing": smoothing}
    if ignoring:
        targets.reshape(-1)[::2] = 0
        choices["ignore_index"] = 0
        targets.reshape(-1)[0] = 1
    bias, dbias = normal(seed + 2, (2, vocab_size), dtype)
    if has_bias:
        choices["bias"] = bias
    assert_same("head_cross_entropy_forward", dtype, x, weight, targets, **choices)
    arguments = dtype(0.7), x, weight, targets
    assert_same("head_cross_entropy_backward", dtype, *arguments, **choices)
    choices |= {"dweight": dweight, "overwrite": overwrite, "in_place": ("dweight",)}
    if has_bias:
        choices |= {"dbias": dbias, "in_place": ("dweight", "dbias")}
    assert_same("head_cross_entropy_backward", dtype, *arguments, **choices)


@given(batches, times, st.integers(1, 3), st.integers(1, 5), dtypes, seeds)
def test_attention(batch, time, heads, head_size, dtype, seed):
    dy, q, k, v = normal(seed, (4, batch, heads, time, head_size), dtype)
    assert_same("attention_forward", dtype, q, k, v, scale=0.5)
    kept = reference.attention_forward(q, k, v, scale=0.5)
    assert_same("attention_backward", dtype, dy, q, k, v, *kept, scale=0.5)
    lengths = np.random.default_rng(seed).integers(1, time + 1, batch)
    last = q[:, :, -1:]
    assert_same("cached_attention_forward", dtype, last, k, v, lengths, scale=0.5)


@given(batches, times, st.integers(1, 5), st.integers(1, 20), dtypes, seeds, st.booleans())
def test_additive_scores(batch, time, n_keys, d, dtype, seed, has_lengths):
    q, k = normal(seed, (batch, time, d), dtype), normal(seed + 1, (batch, n_keys, d), dtype)
    (v, dv), dscores = (
        normal(seed + 2, (2, d), dtype),
        normal(seed + 3, (batch, time, n_keys), dtype),
    )
    lengths = np.random.default_rng(seed).integers(0, n_keys + 1, batch) if has_lengths else None
    if has_lengths:  # there is no gradient where there is no key
        dscores = np.where(np.arange(n_keys) < lengths[:, None, None], dscores, dtype(0))
    assert_same("additive_scores_forward", dtype, q, k, v, lengths=lengths)
    arguments = dscores, q, k, v
    assert_same("additive_scores_backward", dtype, *arguments, lengths=lengths)
    choices = {"lengths": lengths, "dv": dv, "in_place": ("dv",)}
    assert_same("additive_scores_backward", dtype, *arguments, **choices)


@given(row_shapes(), seeds, st.integers(1, 20), st.sampled_from(["int8", "bfloat16"]))
def test_quantized_linear(shape, seed, d_out, kind):
    x = normal(seed, shape, np.float32)
    weight, bias = normal(seed + 1, (d_out, shape[-1]), np.float32), normal(seed, d_out, np.float32)
    arrays = reference.to_int8(weight) if kind == "int8" else (reference.to_bfloat16(weight), None)
    assert_same("quantized_linear_forward", np.float32, x, *arrays)
    assert_same("quantized_linear_forward", np.float32, x, *arrays, bias)


@given(row_shapes(), dtypes, seeds, st.sampled_from(["tanh", "exact"]), st.booleans())
def test_gelu(shape, dtype, seed, form, has_bias):
    x, dy = normal(seed, (2, *shape), dtype, scale=3.0)
    bias, dbias = normal(seed + 1, (2, shape[-1]), dtype) if has_bias else (None, None)
    gradients = {"dbias": dbias} if has_bias else {}
    assert_same(f"gelu_{form}_forward", dtype, x, bias)
    assert_same(f"gelu_{form}_backward", dtype, dy, x, bias, **gradients, in_place=gradients)


@given(row_shapes(), dtypes, seeds, st.booleans())
def test_layer_norm(shape, dtype, seed, has_beta):
    x, dy = normal(seed, (2, *shape), dtype)
    gamma, beta, dgamma, dbeta = normal(seed + 1, (4, shape[-1]), dtype)
    assert_same("layer_norm_forward", dtype, x, gamma, beta if has_beta else None, 1e-2)
    _, mean, rstd = reference.layer_norm_forward(x, gamma, beta, 1e-2)
    gradients = {"dgamma": dgamma, "dbeta": dbeta} if has_beta else {"dgamma": dgamma}
    arguments = dy, x, gamma, mean, rstd
    assert_same("layer_norm_backward", dtype, *arguments, **gradients, in_place=gradients)
    gradients["dshortcut"] = dy + 1
    assert_same("layer_norm_backward", dtype, *arguments, **gradients, in_place=gradients)


@given(row_shapes(), dtypes, seeds)
def test_rms_norm(shape, dtype, seed):
    x, dy, shortcut = normal(seed, (3, *shape), dtype)
    gamma, dgamma = normal(seed + 1, (2, shape[-1]), dtype)
    assert_same("rms_norm_forward", dtype, x, gamma, 1e-2)
    _, rstd = reference.rms_norm_forward(x, gamma, 1e-2)
    for others in ({}, {"dgamma": dgamma}, {"dgamma": dgamma, "dshortcut": shortcut}):
        assert_same("rms_norm_backward", dtype, dy, x, gamma, rstd, **others, in_place=others)


@given(
    row_shapes(), dtypes, seeds, st.sampled_from(["relu", "silu", "glu", "swiglu"]), st.booleans()
)
def test_relu_and_gated_units(shape, dtype, seed, name, has_bias):
    width = shape[-1] * (1 if name in ("relu", "silu") else 2)
    x = normal(seed, (*shape[:-1], width), dtype, scale=3.0)
    dy = normal(seed + 1, shape, dtype)
    bias, dbias = normal(seed + 2, (2, width), dtype) if has_bias else (None, None)
    assert_same(f"{name}_forward", dtype, x, bias)
    gradients = {"dbias": dbias} if has_bias else {}
    assert_same(f"{name}_backward", dtype, dy, x, bias, **gradients, in_place=gradients)


@given(batches, st.integers(1, 3), times, st.integers(1, 5), dtypes, seeds)
def test_rotary(batch, heads, time, half, dtype, seed):
    x = normal(seed, (batch, time, heads, 2 * half), dtype).transpose(0, 2, 1, 3)
    angles = reference.rotary_angles(np.arange(3, 3 + time), 2 * half)
    cos, sin = (table.astype(dtype) for table in angles)
    for name in ("rotary_forward", "rotary_backward"):
        assert_same(name, dtype, x, cos, sin)
        own = x.copy()
        compiled_result = getattr(compiled, name)(own, cos, sin, out=own)
        assert compiled_result is own
        expected = getattr(reference, name)(x, cos, sin)
        assert_close(own, expected, TOLERANCE[np.dtype(dtype)], "in place")


@given(row_shapes(), dtypes, seeds, st.booleans(), smoothings)
def test_cross_entropy(shape, dtype, seed, ignoring, smoothing):
    logits = normal(seed, shape, dtype, scale=4.0)
    targets = np.random.default_rng(seed).integers(0, shape[-1], shape[:-1])
    if ignoring:
        targets.reshape(-1)[::2] = -100
        targets.reshape(-1)[0] = 0
    choices = {"label_smoothing": smoothing}
    assert_same("cross_entropy_forward", dtype, logits, targets, **choices)
    _, lse = reference.cross_entropy_forward(logits, targets)
    assert_same("cross_entropy_backward", dtype, dtype(0.7), logits, targets, lse, **choices)


@given(row_shapes(), dtypes, seeds, st.integers(1, 5))
def test_embedding_scatter_with_repeated_ids(shape, dtype, seed, vocab_size):
    dy = normal(seed, shape, dtype)
    ids = np.random.default_rng(seed).integers(0, vocab_size, shape[:-1])
    dweight = normal(seed, (vocab_size, shape[-1]), dtype)
    assert_same("embedding_backward", dtype, dy, ids, dweight=dweight, in_place=("dweight",))


@given(row_shapes(), dtypes, seeds, probabilities, keys)
def test_dropout_masks_are_the_same_bit_for_bit(shape, dtype, seed, p, key):
    x = normal(seed, shape, dtype)
    for name in ("dropout_forward", "dropout_backward"):
        assert_same(name, dtype, x, p, key)
        ours, expected = getattr(compiled, name)(x, p, key), getattr(reference, name)(x, p, key)
        np.testing.assert_array_equal(ours, expected)
    assert_same("dropout_mask", dtype, shape, p, key, np.dtype(dtype))
    np.testing.assert_array_equal(
        compiled.dropout_mask(shape, p, key, np.dtype(dtype)),
        reference.dropout_mask(shape, p, key, np.dtype(dtype)),
    )


@given(row_shapes(), dtypes, seeds, st.integers(1, 1000), st.sampled_from(["adam", "adamw"]))
def test_optimiser_updates(shape, dtype, seed, step, name):
    value, grad, m, v = normal(seed, (4, *shape), dtype)
    numbers = (step, 1e-2, 0.9, 0.99, 1e-8, 0.1)
    assert_same(f"{name}_update", dtype, value, grad, m, v * v, *numbers, in_place=(0, 2, 3))


@given(row_shapes(), dtypes, seeds, st.floats(0.0, 2.0), st.booleans())
def test_gradient_descent(shape, dtype, seed, grad_scale, nesterov):
    value, grad, velocity = normal(seed, (3, *shape), dtype)
    rates = (1e-2, 0.1, grad_scale)
    assert_same("sgd_update", dtype, value, grad, *rates, in_place=(0,))
    arguments = (value, grad, velocity, 0.9, *rates, nesterov)
    assert_same("momentum_update", dtype, *arguments, in_place=(0, 2))


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
    assert_same("attention_forward", dtype, q, q, q, scale=0.5)
    for name, num_kept, numbers in (
        ("adam", 2, (3, 0.1, 0.9, 0.99, 1e-8, 0.1)),
        ("adamw", 2, (3, 0.1, 0.9, 0.99, 1e-8, 0.1)),
        ("sgd", 0, (0.1, 0.1)),
        ("momentum", 1, (0.9, 0.1, 0.1)),
    ):
        results = []
        for backend in (compiled, reference):
            value, grad, *kept = normal(seed, (2 + num_kept, 6, 4), dtype).transpose(0, 2, 1)
            kept = [array * array for array in kept]
            getattr(backend, f"{name}_update")(value, grad, *kept, *numbers)
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
            dx = compiled.layer_norm_backward(dy, x, gamma, mean, rstd, dgamma=dgamma, dbeta=dbeta)
            y, lse = compiled.attention_forward(q, q, q, scale=0.3)
            dq, dk, dv = compiled.attention_backward(y, q, q, q, y, lse, scale=0.3)
            outcomes.append([dx, dgamma, dbeta, y, dq, dk, dv, compiled.sum_of_squares(x)])
    finally:
        numba.set_num_threads(available)
    for one, several in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(one, several)


ATTEND = """
import numpy as np
from npgpt import ops
q, k, v = np.random.default_rng(0).standard_normal((3, 1, 1, 130, 8), np.float32)
print(ops.attention_forward(q, k, v, scale=0.3)[0].tobytes().hex())
"""


@pytest.mark.slow
def test_attention_rounds_alike_in_the_process_that_compiles_it_and_from_the_cache(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", ATTEND]
    compiling, from_cache = (
        subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        for _ in range(2)
    )
    assert any(tmp_path.rglob("*.nbc"))
    assert compiling == from_cache


@given(row_shapes(), dtypes, seeds, st.integers(1, 5), st.integers(1, 9))
def test_low_rank(shape, dtype, seed, rank, d_out):
    x = normal(seed, shape, dtype)
    lora_a = normal(seed + 1, (rank, shape[-1]), dtype)
    lora_b = normal(seed + 2, (d_out, rank), dtype)
    y, dy = normal(seed + 3, (2, *shape[:-1], d_out), dtype)
    assert_same("low_rank_forward", dtype, x, lora_a, lora_b, 0.5, y, in_place=(4,))
    h = reference.low_rank_forward(x, lora_a, lora_b, 0.5, y)
    arguments = dy, x, lora_a, lora_b, 0.5, h
    gradients = {"dlora_a": lora_a, "dlora_b": lora_b}
    for others in ({}, {"dshortcut": x + 1}, {"out": x + 2}, {"dshortcut": x + 1, "out": x + 2}):
        choices = {**gradients, **others, "in_place": [*gradients, *others]}
        assert_same("low_rank_backward", dtype, *arguments, **choices)
    dx = x.copy()
    ours = compiled.low_rank_backward(*arguments, dshortcut=dx, out=dx)
    expected = reference.low_rank_backward(*arguments, dshortcut=x)
    assert ours is dx
    assert_close(ours, expected, TOLERANCE[np.dtype(dtype)], "into the shortcut's own array")


@given(row_shapes(), dtypes, seeds, st.integers(2, 9))
def test_head_log_probs(shape, dtype, seed, vocab_size):
    x = normal(seed, shape, dtype)
    weight = normal(seed + 1, (vocab_size, shape[-1]), dtype)
    dlog_p = normal(seed + 2, shape[:-1], dtype)
    targets = np.random.default_rng(seed).integers(0, vocab_size, shape[:-1])
    targets.reshape(-1)[::2] = -100
    assert_same("head_log_probs_forward", dtype, x, weight, targets)
    arguments = dlog_p, x, weight, targets
    choices = {"dweight": weight.copy(), "in_place": ("dweight",)}
    assert_same("head_log_probs_backward", dtype, *arguments, **choices)


def test_every_compiled_operation_has_a_test_here():
    assert uncompared({*compiled.__all__, "a new one"}) == {"a new one"}


def uncompared(names):
    """Return the operations that no drawn test of this file compares."""
    if not set(compiled.__all__) <= compared:  # the others ran in another process, or not at all
        for test in [value for value in globals().values() if hasattr(value, "hypothesis")]:
            test()
    return names - compared


recurrent_shapes = st.tuples(st.integers(0, 6), batches, widths, widths)  # time, batch, in, hidden
PARTS = {"rnn": 1, "gru": 3, "lstm": 4}


@st.composite
def sequences(draw):
    """Draw (x, first states and weights, how they are read) of a recurrent operation."""
    name = draw(st.sampled_from(list(PARTS)))
    time, batch, d_in, d_hidden = draw(recurrent_shapes)
    dtype, rng = draw(dtypes), np.random.default_rng(draw(seeds))
    width = PARTS[name] * d_hidden
    shapes = [(time, batch, d_in), *[(batch, d_hidden)] * (2 if name == "lstm" else 1)]
    shapes += [(width, d_in), (width, d_hidden)]
    arrays = [(0.7 * rng.standard_normal(shape)).astype(dtype) for shape in shapes]
    biases = (0.3 * rng.standard_normal((2, width))).astype(dtype)
    choices = {"reverse": draw(st.booleans())}
    if draw(st.booleans()):
        choices["lengths"] = rng.integers(0, time + 1, batch)
    if name == "rnn":
        choices["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    return name, dtype, arrays, biases if draw(st.booleans()) else (), choices, rng


@given(sequences())
def test_recurrent_sequences(drawn):
    name, dtype, arrays, biases, choices, rng = drawn
    assert_same(f"{name}_forward", dtype, *arrays, *biases, **choices)
    x, *states, weight_ih, weight_hh = arrays
    y, *kept = getattr(reference, f"{name}_forward")(*arrays, *biases, **choices)
    dy, *dstates = (rng.standard_normal(a.shape).astype(dtype) for a in (y, *states))
    dweights = {"dweight_ih": 0 * weight_ih + 1, "dweight_hh": 0 * weight_hh + 1}
    dbiases = dict(zip(("dbias_ih", "dbias_hh"), biases, strict=False))
    given = dict(zip(("dh_n", "dc_n"), dstates, strict=False))
    for gradients in ({}, dweights, {**dweights, **dbiases}):
        for of_last in ({}, given):
            assert_same(
                f"{name}_backward", dtype, dy, x, weight_ih, weight_hh, *kept,
                **choices, **of_last, **gradients, in_place=gradients,
            )  # fmt: skip


@given(
    st.tuples(batches, times, widths, widths), st.integers(1, 4), st.integers(1, 3), dtypes, seeds
)
def test_causal_convolution(shape, kernel, dilation, dtype, seed):
    batch, time, d_in, d_out = shape
    x, dy = normal(seed, (batch, time, d_in), dtype), normal(seed + 1, (batch, time, d_out), dtype)
    weight, bias = normal(seed + 2, (d_out, d_in, kernel), dtype), normal(seed + 3, d_out, dtype)
    assert_same("causal_conv1d_forward", dtype, x, weight, bias, dilation=dilation)
    assert_same("causal_conv1d_forward", dtype, x, weight, dilation=dilation)
    for gradients in ({}, {"dweight": weight + 1}, {"dweight": weight + 1, "dbias": bias}):
        assert_same(
            "causal_conv1d_backward", dtype, dy, x, weight, dilation=dilation, **gradients,
            in_place=gradients,
        )  # fmt: skip

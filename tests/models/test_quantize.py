"""Weights in fewer bits: how they round, what is computed with them, what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import GPT, GPTConfig, ops
from npgpt.data import StridedWindows
from npgpt.runs import open_model
from npgpt.training import evaluate
from tests.hub.folders import saved
from tests.strategies import seeds

CONFIG = GPTConfig(211, 32, n_layers=2, n_heads=2, d_model=32)
IDS = np.random.default_rng(0).integers(0, 211, (2, 20))


def model(**changes):
    gpt = GPT(GPTConfig(**{**CONFIG.to_dict(), **changes}), seed=1)
    for parameter in gpt.parameters():
        parameter.value *= 3.0
    return gpt.eval()


def matrix(seed, shape=(7, 33)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(seeds)
def test_int8_is_off_by_half_a_step_at_most_and_bfloat16_by_a_256th(seed):
    weight = matrix(seed) * 10.0 ** np.arange(-3, 4)[:, None].astype(np.float32)
    rounded, scales = ops.to_int8(weight)
    assert abs(rounded.astype(int)).max(axis=1).tolist() == [127] * 7
    error = abs(ops.from_bits(rounded, scales) - weight)
    assert (error <= 0.5001 * scales[:, None]).all()
    error = abs(ops.from_bits(ops.to_bfloat16(weight)) - weight)
    assert (error <= abs(weight) / 256).all()


def test_rows_of_zeros_and_exact_numbers_stay():
    zeros, scales = ops.to_int8(np.zeros((2, 3), np.float32))
    assert not ops.from_bits(zeros, scales).any()
    exact = np.array([[1.0, -2.5, 0.0, 384.0]], np.float32)
    np.testing.assert_array_equal(ops.from_bits(ops.to_bfloat16(exact)), exact)
    # 1 + 1/256 lies in the middle of two bfloat16 numbers: to the even one
    middle = np.array([[1 + 2**-8, 1 + 3 * 2**-8]], np.float32)
    assert ops.from_bits(ops.to_bfloat16(middle)).tolist() == [[1.0, 1 + 2**-6]]


@given(seeds, st.integers(1, 40), st.integers(1, 19), st.booleans(), st.sampled_from(["i", "b"]))
def test_the_compiled_product_is_the_reference(seed, rows, d_out, biased, kind):
    weight, x = matrix(seed, (d_out, 33)), matrix(seed + 1, (rows, 33))
    bias = matrix(seed, (1, d_out))[0] if biased else None
    arrays = ops.to_int8(weight) if kind == "i" else (ops.to_bfloat16(weight), None)
    results = []
    for backend in ops.BACKENDS:
        with ops.use(backend):
            results.append(ops.quantized_linear_forward(x, *arrays, bias))
    np.testing.assert_allclose(*results, rtol=0, atol=2e-5)


@given(seeds, st.integers(1, 20), st.integers(1, 19), st.booleans())
def test_few_rows_are_multiplied_as_many_are(seed, rows, d_out, biased):
    for dtype, tolerance in ((np.float32, 2e-5), (np.float64, 1e-13)):
        weight, x = (matrix(seed, (n, 33)).astype(dtype) for n in (d_out, rows))
        bias = matrix(seed, (1, d_out))[0].astype(dtype) if biased else None
        expected = x @ weight.T + (0 if bias is None else bias)
        np.testing.assert_allclose(
            ops.linear_forward(x, weight, bias), expected, rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("kind", "tolerance"), [("bfloat16", 0.03), ("int8", 0.06)])
def test_logits_and_loss_stay_near_those_of_float32(kind, tolerance, tied):
    exact, rounded = model(tie_embeddings=tied), model(tie_embeddings=tied).quantize(kind)
    expected = exact.forward(IDS)
    error = abs(rounded.forward(IDS) - expected).max() / abs(expected).max()
    assert 0 < error < tolerance
    windows = StridedWindows(np.tile(IDS[0], 5), 32)
    difference = evaluate(rounded, windows).loss - evaluate(exact, windows).loss
    assert 0 < abs(difference) < 0.05
    # the loss in chunks is that of the logits
    loss = rounded.loss(IDS[:, :-1], IDS[:, 1:])
    assert rounded.evaluation_loss(IDS[:, :-1], IDS[:, 1:]) == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_generation_with_a_cache_is_that_without(kind):
    gpt = model().quantize(kind)
    np.testing.assert_array_equal(
        gpt.generate([1, 2, 3], 20, temperature=0.0),
        gpt.generate([1, 2, 3], 20, temperature=0.0, use_cache=False),
    )


def test_the_memory_of_the_full_weights_goes():
    gpt = model(vocab_size=2000).quantize("int8")
    assert all(parameter.value.base is None for parameter in gpt.parameters())
    assert gpt.head.weight.nbytes == 2000 * (32 + 4)
    assert gpt.head.weight is gpt.token_embedding.weight  # tied


def test_a_rounded_model_is_for_inference_only():
    gpt = model().quantize("int8")
    gpt.loss(IDS[:, :-1], IDS[:, 1:])
    with pytest.raises(RuntimeError, match="for inference only"):
        gpt.backward()
    with pytest.raises(ValueError, match="kind must be one of bfloat16, int8, got 'int4'"):
        model().quantize("int4")
    with pytest.raises(ValueError, match="must be float32, got float64"):
        GPT(CONFIG, dtype=np.float64).quantize("int8")


def test_a_folder_opens_in_fewer_bits(tmp_path):
    folder, exact = saved(tmp_path / "m")
    ids = IDS[:, :10] % 270
    opened = open_model(folder, dtype="int8").model
    assert abs(opened.forward(ids) - exact.forward(ids)).max() < 0.3
    with pytest.raises(ValueError, match="for inference only"):
        opened.save_pretrained(tmp_path / "again")
    with pytest.raises(ValueError, match="outside the vocabulary"):
        opened.forward(np.array([[270]]))

"""Generation with keys and values kept is generation without, for every choice of a config."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import GPT, GPTConfig, ops
from npgpt.generation import ContextWarning
from tests.layers.configs import CHOICES
from tests.strategies import seeds

# Other shapes of the same products round differently; in float64 by this much at most, relative to
# the largest logit.
ROUNDING = 1e-12


@st.composite
def models(draw, context_length=12):
    position = draw(st.sampled_from(list(CHOICES["position"])))
    n_kv_heads = draw(st.sampled_from([1, 2, 4]))
    config = GPTConfig(
        vocab_size=17, context_length=context_length, n_layers=2, n_heads=4, d_model=16,
        position=position, n_kv_heads=n_kv_heads,
        window=draw(st.sampled_from([None, 1, 3])),
        norm=draw(st.sampled_from(list(CHOICES["norm"]))),
        norm_position=draw(st.sampled_from(list(CHOICES["norm_position"]))),
        activation=draw(st.sampled_from(list(CHOICES["activation"]))),
        bias=draw(st.booleans()), tie_embeddings=draw(st.booleans()), dropout=0.1,
    )  # fmt: skip
    model = GPT(config, seed=draw(seeds), dtype=np.float64)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.value += 0.2 * rng.standard_normal(parameter.shape)
    return model.eval()


prompts = st.lists(st.lists(st.integers(0, 16), min_size=1, max_size=7), min_size=1, max_size=4)


@given(models(), prompts, st.sampled_from(ops.BACKENDS))
def test_logits_step_by_step_are_those_of_the_whole_sequence(model, rows, backend):
    with ops.use(backend):
        decoder, again = (model.decoder(6, use_cache) for use_cache in (True, False))
        with_cache, without = (d.start([np.array(row) for row in rows]) for d in (decoder, again))
        for _ in range(5):
            scale = max(1.0, abs(without).max())
            assert abs(with_cache - without).max() <= ROUNDING * scale
            tokens = without.argmax(axis=-1)
            with_cache, without = decoder.step(tokens), again.step(tokens)


@given(models(context_length=8), prompts, seeds, st.integers(1, 14))
def test_texts_are_the_same_beyond_the_context_too(model, rows, seed, max_new_tokens):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContextWarning)
        with_cache, without = (
            model.generate(rows, max_new_tokens, seed=seed, use_cache=use_cache)
            for use_cache in (True, False)
        )
    for one, other in zip(with_cache, without, strict=True):
        np.testing.assert_array_equal(one, other)


@given(models(), prompts, st.sampled_from(["left", "right"]))
def test_padding_has_no_influence(model, rows, side):
    longest = max(map(len, rows))
    pads = [[16] * (longest - len(row)) for row in rows]
    left = side == "left"
    padded = np.array([p + r if left else r + p for r, p in zip(rows, pads, strict=True)])
    masks = np.array(
        [[0] * len(p) + [1] * len(r) if left else [1] * len(r) + [0] * len(p)
         for r, p in zip(rows, pads, strict=True)]
    )  # fmt: skip
    new = list(model.stream(padded, 5, temperature=0.0, attention_mask=masks))
    for row, tokens in zip(rows, np.stack(new, axis=1), strict=True):
        np.testing.assert_array_equal(model.generate(row, 5, temperature=0.0)[len(row) :], tokens)


def test_a_row_that_moves_its_window_leaves_the_others_alone():
    model = GPT(GPTConfig(17, 8, n_layers=1, n_heads=2, d_model=8), dtype=np.float64).eval()
    with pytest.warns(ContextWarning):
        together = model.generate([[1] * 7, [2]], 6, temperature=0.0)
    alone = model.generate([2], 6, temperature=0.0)
    np.testing.assert_array_equal(together[1], alone)


def test_a_mask_with_a_hole_is_refused():
    model = GPT(GPTConfig(17, 8, n_layers=1, n_heads=2, d_model=8))
    with pytest.raises(ValueError, match="not within it"):
        model.generate([[1, 2, 3]], 1, attention_mask=[[1, 0, 1]])
    with pytest.raises(ValueError, match="at least one token"):
        model.generate([[1, 2, 3]], 1, attention_mask=[[0, 0, 0]])


def test_only_the_heads_of_keys_and_values_are_stored():
    config = GPTConfig(17, 8, n_layers=1, n_heads=4, d_model=16, n_kv_heads=1)
    decoder = GPT(config).decoder(3)
    decoder.start([np.array([1, 2])])
    assert decoder._states[0].keys.shape == (1, 1, 4, 4)


@given(seeds, st.integers(1, 3), st.sampled_from([1, 2, 4]), st.integers(1, 40), st.booleans())
def test_the_compiled_operation_is_the_reference(seed, batch, n_kv_heads, capacity, biased):
    rng = np.random.default_rng(seed)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        q = rng.standard_normal((batch, 4, 1, 6)).astype(dtype)
        k, v = rng.standard_normal((2, batch, n_kv_heads, capacity, 6)).astype(dtype)
        bias = rng.standard_normal((4, capacity)).astype(dtype) if biased else None
        lengths = rng.integers(1, capacity + 1, batch)
        for window in (None, 1, 5):
            results = []
            for backend in ops.BACKENDS:
                with ops.use(backend):
                    results.append(
                        ops.cached_attention_forward(
                            q, k, v, lengths, scale=0.4, window=window, bias=bias
                        )
                    )
            np.testing.assert_allclose(*results, rtol=0, atol=tolerance)

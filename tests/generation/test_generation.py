"""Sampling, and generation token by token."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.generation import (
    ContextWarning,
    generate_tokens,
    next_token_probabilities,
    sample_tokens,
)
from npgpt.models import GPT, GPTConfig
from tests.strategies import normal, seeds

LOGITS = np.log(np.array([[0.5, 0.25, 0.15, 0.1]]))


def kept(probabilities):
    return np.flatnonzero(probabilities[0]).tolist()


@given(seeds, st.floats(0.1, 10), st.one_of(st.none(), st.integers(1, 9)), st.floats(0.05, 1))
def test_probabilities_are_a_distribution_that_keeps_the_order(seed, temperature, top_k, top_p):
    logits = normal(seed, (3, 7), np.float32, scale=4.0)
    probabilities = next_token_probabilities(logits, temperature, top_k, top_p)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0, rtol=1e-12)
    assert (probabilities.max(axis=-1) == probabilities[range(3), logits.argmax(axis=-1)]).all()
    if top_k:
        assert (np.count_nonzero(probabilities, axis=-1) <= top_k).all()


def test_without_choices_the_distribution_is_the_softmax():
    np.testing.assert_allclose(next_token_probabilities(LOGITS), np.exp(LOGITS))


def test_temperature_divides_the_logits():
    squared = np.exp(LOGITS) ** 2
    np.testing.assert_allclose(next_token_probabilities(LOGITS, 0.5), squared / squared.sum())
    assert next_token_probabilities(LOGITS, 0.0).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert next_token_probabilities(LOGITS, 1e-300).tolist() == [[1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("top_k", "tokens"), [(1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (99, [0, 1, 2, 3])]
)
def test_top_k_keeps_the_likeliest(top_k, tokens):
    assert kept(next_token_probabilities(LOGITS, top_k=top_k)) == tokens


@pytest.mark.parametrize(
    ("top_p", "tokens"),
    [
        (0.1, [0]),
        (0.49, [0]),
        (0.51, [0, 1]),
        (0.74, [0, 1]),
        (0.76, [0, 1, 2]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, tokens):
    probabilities = next_token_probabilities(LOGITS, top_p=top_p)
    assert kept(probabilities) == tokens
    expected = np.exp(LOGITS[0, tokens])
    np.testing.assert_allclose(probabilities[0, tokens], expected / expected.sum())


def test_samples_follow_the_distribution():
    counts = np.bincount(sample_tokens(np.repeat(LOGITS, 40_000, 0), np.random.default_rng(0)))
    shares, expected = counts / 40_000, np.exp(LOGITS[0])
    assert (np.abs(shares - expected) < 5 * np.sqrt(expected / 40_000)).all()


def test_a_token_of_probability_zero_is_never_drawn():
    class Edge:
        def random(self, shape):
            return np.full(shape, np.nextafter(1.0, 0.0))

    logits = np.array([[-np.inf, 0.0, 0.0, -np.inf]])
    assert sample_tokens(logits, Edge()).tolist() == [2]
    Edge.random = lambda self, shape: np.zeros(shape)
    assert sample_tokens(logits, Edge()).tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -0.1}, "temperature must be at least 0"),
        ({"temperature": math.nan}, "temperature must be a finite number"),
        ({"top_k": 0}, "top_k must be a positive integer"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1"),
    ],
)
def test_choices_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        next_token_probabilities(LOGITS, **arguments)
    with pytest.raises(ValueError, match=message):
        list(generate_tokens(lambda ids: LOGITS, [[0]], 1, **arguments))


def counting(ids):
    """Next token: one more than the last, modulo 10."""
    logits = np.full((len(ids), 10), -50.0)
    logits[range(len(ids)), (ids[:, -1] + 1) % 10] = 50.0
    return logits


def test_tokens_are_fed_back():
    tokens = [t.tolist() for t in generate_tokens(counting, np.array([[3], [8]]), 4)]
    assert tokens == [[4, 9], [5, 0], [6, 1], [7, 2]]


def test_a_row_that_drew_the_stop_token_repeats_it_until_all_have():
    tokens = [t.tolist() for t in generate_tokens(counting, np.array([[3], [0]]), 99, stop_id=5)]
    assert tokens == [[4, 1], [5, 2], [5, 3], [5, 4], [5, 5]]


def test_prompts_and_lengths_out_of_range_are_refused():
    with pytest.raises(ValueError, match="at least one token"):
        list(generate_tokens(counting, np.zeros((1, 0), int), 3))
    with pytest.raises(ValueError, match="max_new_tokens must be at least 0, got -1"):
        list(generate_tokens(counting, [[0]], -1))
    assert list(generate_tokens(counting, [[0]], 0)) == []


CONFIG = GPTConfig(vocab_size=11, context_length=6, n_layers=1, n_heads=2, d_model=8, dropout=0.5)


def model():
    gpt = GPT(CONFIG, seed=3)
    gpt.token_embedding.weight.value *= 30  # so that tokens differ in their probability
    return gpt


def test_greedy_takes_the_likeliest_token_each_time():
    gpt = model()
    ids = gpt.generate([1, 2], 4, temperature=0.0)
    gpt.eval()
    for i in range(2, 6):
        assert ids[i] == gpt.forward(ids[None, :i])[0, -1].argmax()


def test_a_seed_repeats_the_text_and_another_does_not():
    gpt = model()
    texts = [gpt.generate([1], 5, temperature=2.0, seed=s).tolist() for s in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_beyond_the_context_the_last_tokens_count():
    gpt = model().eval()
    long = np.array([[9, 9, 9, 1, 2, 3, 4, 5, 6]])
    np.testing.assert_array_equal(gpt.next_logits(long), gpt.next_logits(long[:, -6:]))
    with pytest.warns(ContextWarning, match="longer than the context of 6 tokens"):
        assert gpt.generate(long[0], 10, seed=0).shape == (19,)


def test_a_batch_gives_each_row_its_own_continuation():
    ids = model().generate([[1, 2], [3, 4]], 5, temperature=0.0)
    assert ids.shape == (2, 7)
    np.testing.assert_array_equal(ids[0], model().generate([1, 2], 5, temperature=0.0))


def test_generation_is_without_dropout_and_leaves_the_mode_as_it_was():
    gpt = model()
    gpt.generate([1], 3)
    assert gpt.training
    assert gpt.dropout_step == 0
    stream = gpt.stream([1], 3)
    next(stream)
    assert not gpt.training
    stream.close()  # abandoned half way
    assert gpt.training


def test_the_last_logits_are_those_of_the_whole_forward_pass():
    gpt = model().eval()
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(gpt.next_logits(ids), gpt.forward(ids)[:, -1], atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("search", [False, True])
def test_logits_that_are_not_finite_choose_no_token(bad, search):
    model = GPT(GPTConfig(vocab_size=11, context_length=8, n_layers=1, n_heads=2, d_model=8))
    model.token_embedding.weight.value[...] = bad
    with pytest.raises(ValueError, match="logits are not finite"), np.errstate(all="ignore"):
        if search:
            model.beam_search([1, 2], 3)
        else:
            model.generate([1, 2], 3, temperature=0.0)


def test_a_ruled_out_token_is_never_drawn_and_is_no_error():
    logits = np.array([[-np.inf, 0.0, -np.inf]])
    new = list(generate_tokens(lambda ids: logits, [1], 5, seed=0))
    assert np.ravel(new).tolist() == [1] * 5


@pytest.mark.parametrize("prompt", ["once", ["once", "upon"]])
def test_a_text_is_no_prompt_of_ids(prompt):
    with pytest.raises(ValueError, match="must be token ids, not text"):
        list(generate_tokens(lambda ids: LOGITS, prompt, 1))

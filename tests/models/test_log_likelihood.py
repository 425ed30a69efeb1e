"""The probability of a continuation, and the loss over overlapping windows."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npgpt.data import StridedWindows
from npgpt.training import evaluate
from tests.models.tiny import CONFIGS, shaken_model
from tests.strategies import seeds

MODEL = shaken_model(CONFIGS["tied"]).eval()  # context 8, 13 tokens


def log_probabilities(ids):
    logits = MODEL.forward(np.asarray(ids)[None])[0]
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@given(seeds, st.integers(1, 12), st.integers(1, 8))
def test_it_is_the_sum_of_the_tokens_log_probabilities(seed, prompt_size, size):
    ids = np.random.default_rng(seed).integers(0, 13, prompt_size + size)
    expected = 0.0
    kept = ids[-9:]  # the context, and the last target
    for place in range(len(kept) - size, len(kept)):
        expected += log_probabilities(kept[:place])[-1, kept[place]]
    result = MODEL.log_likelihood(ids[:prompt_size], ids[prompt_size:])
    assert result == pytest.approx(expected, abs=1e-11)


def test_the_probabilities_of_all_continuations_sum_to_one():
    total = sum(np.exp(MODEL.log_likelihood([1, 2], [a, b])) for a in range(13) for b in range(13))
    assert total == pytest.approx(1.0, abs=1e-11)


def test_dropout_is_off_and_the_mode_stays():
    model = shaken_model(CONFIGS["tied"])
    assert model.training
    assert model.log_likelihood([1], [2, 3]) == MODEL.log_likelihood([1], [2, 3])
    assert model.training


def test_empty_and_too_long_ones_are_refused():
    for prompt, continuation in (([], [1]), ([1], []), ([[1]], [1])):
        with pytest.raises(ValueError, match="at least one token"):
            MODEL.log_likelihood(prompt, continuation)
    with pytest.raises(ValueError, match="9 tokens is longer than the context of 8"):
        MODEL.log_likelihood([1], np.ones(9, int))


@given(seeds, st.integers(1, 8), st.integers(2, 40))
@example(0, 8, 9)
def test_ignored_targets_do_not_count_in_an_evaluation(seed, stride, size):
    ids = np.random.default_rng(seed).integers(0, 13, size)
    windows = StridedWindows(ids, 8, stride, batch_size=3)
    nats, tokens = 0.0, 0
    for inputs, targets in windows:
        for row, target in zip(inputs, targets, strict=True):
            log_p = log_probabilities(row)
            for place in np.flatnonzero(target != -100):
                nats -= log_p[place, target[place]]
                tokens += 1
    result = evaluate(MODEL, windows, np.full(13, 2))
    assert result.tokens == tokens
    assert result.num_bytes == 2 * tokens
    assert result.loss == pytest.approx(nats / tokens, abs=1e-11)

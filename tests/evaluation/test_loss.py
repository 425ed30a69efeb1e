"""An evaluation takes the model's word for what counts, whatever its batches hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import GPT, GPTConfig
from npgpt.data.sequences import LabelledTexts, PreferencePairs, Responses
from npgpt.evaluation import evaluate
from npgpt.models import GPTForClassification, GPTForPreference
from tests.models.test_new_families import Reversals, translator

VOCAB, CONTEXT = 11, 9
BYTES = np.arange(1, VOCAB + 3)


def gpt():
    return GPT(GPTConfig(VOCAB, CONTEXT, n_layers=1, n_heads=1, d_model=4), dtype=np.float64)


def texts(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCAB, length) for length in lengths]


def responses(lengths, seed=0):
    return Responses(texts(lengths, seed), [length // 2 for length in lengths])


lengths_of_texts = st.lists(st.integers(2, CONTEXT), min_size=1, max_size=6)


@given(lengths_of_texts)
def test_a_classifiers_loss_is_the_mean_over_texts_however_they_are_batched(lengths):
    model = GPTForClassification(gpt(), num_classes=3)
    data = LabelledTexts(texts(lengths), [i % 3 for i in range(len(lengths))])
    one_by_one = [data.batch([i]) for i in range(len(lengths))]
    whole = evaluate(model, [data.batch(range(len(lengths)))])
    assert whole.tokens == len(lengths)
    assert whole.loss == pytest.approx(evaluate(model, one_by_one).loss, abs=1e-12)


def test_bytes_of_a_loss_that_is_over_no_tokens_are_refused():
    labelled = LabelledTexts(texts([3, 4]), [0, 1])
    pairs = PreferencePairs(responses([5, 6]), responses([6, 4], seed=1))
    for model, data in (
        (GPTForClassification(gpt(), num_classes=2), labelled),
        (GPTForPreference(gpt()), pairs),
    ):
        name = type(model).__name__
        with pytest.raises(ValueError, match=f"the loss of a {name} is not the mean over tokens"):
            evaluate(model, [data.batch([0, 1])], BYTES)
        assert evaluate(model, [data.batch([0, 1])]).bits_per_byte is None


def test_bytes_are_those_of_the_targets_wherever_in_the_batch_they_stand():
    batch = Reversals().batch([0, 1, 2])
    targets = batch[3]
    found = evaluate(translator(), [batch], BYTES)
    assert found.tokens == np.count_nonzero(targets >= 0)
    assert found.num_bytes == BYTES[targets[targets >= 0]].sum()


@given(lengths_of_texts)
def test_a_batch_has_as_many_tokens_as_its_texts(lengths):
    count = range(len(lengths))
    data = LabelledTexts(texts(lengths), [0] * len(lengths))
    assert GPTForClassification(gpt(), 2).num_tokens(*data.batch(count)) == sum(lengths)
    tuned, body = responses(lengths), gpt()
    inputs = sum(lengths) - len(lengths)  # a text's last token is a target only
    assert body.num_tokens(*tuned.batch(count)) == inputs
    packed = tuned.packed(CONTEXT)
    assert body.num_tokens(*packed.batch(range(len(packed)))) == inputs
    pairs = PreferencePairs(tuned, responses(lengths[::-1], seed=1))
    assert GPTForPreference(body).num_tokens(*pairs.batch(count)) == 2 * inputs

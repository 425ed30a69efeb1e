"""What is done a part at a time gives what it gives at once; what promises no dropout has none."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data.sequences import LabelledTexts, PreferencePairs, Responses
from npgpt.evaluation import loss as evaluation
from npgpt.finetuning import classification, preferences
from npgpt.gradients import attribution, curvature, noise, per_example
from npgpt.layers import quantized
from npgpt.models import GPT, GPTConfig, GPTForClassification, GPTForPreference
from npgpt.ops import workspace
from tests.models.tiny import batch_for, shaken_model
from tests.mutations import mutated

CONFIG = GPTConfig(vocab_size=7, context_length=4, n_layers=1, n_heads=2, d_model=4)
sizes = st.integers(1, 4)  # of a part
counts = st.integers(1, 9)  # of what is cut


def texts(count):
    rng = np.random.default_rng(count)
    ids = [rng.integers(0, 7, rng.integers(1, 5)) for _ in range(count)]
    return LabelledTexts(ids, rng.integers(0, 3, count))


def check_predict(count, size):
    model = GPTForClassification(shaken_model(CONFIG), 3)
    whole, _ = classification.predict(model, texts(count), batch_size=count)
    parts, labels = classification.predict(model, texts(count), batch_size=size)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    np.testing.assert_array_equal(labels, texts(count).labels)


def check_preferences(count, size):
    rng = np.random.default_rng(count)
    sides = [[rng.integers(0, 7, rng.integers(3, 6)) for _ in range(count)] for _ in range(2)]
    pairs = PreferencePairs(*(Responses(rows, [2] * count) for rows in sides))
    model = GPTForPreference(shaken_model(CONFIG))
    whole = preferences.with_reference(model, pairs, batch_size=count)
    parts = preferences.with_reference(model, pairs, batch_size=size)
    np.testing.assert_allclose(parts.reference, whole.reference, rtol=1e-12)
    for parameter in model.parameters():  # away from the reference
        parameter.value *= 1.1
    scores = [preferences.score_preferences(model, parts, batch_size=n) for n in (count, size)]
    np.testing.assert_allclose(*map(dataclasses.astuple, scores), rtol=1e-12)


def check_attribution(steps, size):
    model, ids = shaken_model(CONFIG), np.array([1, 2, 3])
    whole = attribution.integrated_gradients(model, ids, steps=steps)
    with pytest.MonkeyPatch.context() as patch:
        row = len(ids) * CONFIG.vocab_size * model.dtype.itemsize
        patch.setattr(attribution, "BATCH_BYTES", size * row)
        parts = attribution.integrated_gradients(model, ids, steps=steps)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-10, atol=1e-12)
    assert parts.gap == pytest.approx(whole.gap, abs=1e-10)


def check_quantized_head(count, size):
    weight = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    layer = quantized.QuantizedHead(quantized.QuantizedWeight(weight, "int8"))
    rng = np.random.default_rng(count)
    x, targets = rng.standard_normal((count, 4)).astype("f"), rng.integers(0, 7, count)
    targets[1::3] = -100
    whole = layer.cross_entropy(x, targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "HEAD_CHUNK", size * 7)
        assert layer.cross_entropy(x, targets) == pytest.approx(whole, rel=1e-6)


def check_evaluation(count, size):
    model = shaken_model(CONFIG)
    inputs, targets = batch_for(CONFIG, batch=count)
    lengths = np.arange(7)
    parts = [slice(begin, begin + size) for begin in range(0, count, size)]
    whole = evaluation.evaluate(model, [(inputs, targets)], lengths)
    ours = evaluation.evaluate(model, [(inputs[p], targets[p]) for p in parts], lengths)
    np.testing.assert_allclose(dataclasses.astuple(ours), dataclasses.astuple(whole), rtol=1e-12)


def check_per_example(count, size):
    model = shaken_model(CONFIG)
    inputs, targets = batch_for(CONFIG, batch=count)
    whole = per_example.per_example_gradient_norms(model, inputs, targets).total
    for begin in range(0, count, size):
        part = slice(begin, begin + size)
        ours = per_example.per_example_gradient_norms(model, inputs[part], targets[part]).total
        np.testing.assert_allclose(ours, whole[part], rtol=1e-10)


CHECKS = [check_predict, check_preferences, check_attribution, check_quantized_head,
          check_evaluation, check_per_example]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
@given(count=counts, size=sizes)
def test_work_in_parts_gives_what_it_gives_at_once(check, count, size):
    check(count, size)


MISTAKES = [
    (classification.predict, "probabilities[chosen] =", "probabilities[: len(chosen)] =", check_predict),
    (preferences._by_length, "begin + batch_size]", "begin + batch_size - 1]", check_preferences),
    (preferences.with_reference, "reference[indices] =", "reference[: len(indices)] =", check_preferences),
    (attribution.integrated_gradients, "places[first : first + size]", "places[: min(size, len(places) - first)]", check_attribution),
    (quantized.QuantizedHead.cross_entropy, "* len(targets[part])", "* step", check_quantized_head),
    (quantized.QuantizedHead.cross_entropy, "logits, targets[part], ", "logits, targets[: len(targets[part])], ", check_quantized_head),
    (evaluation.evaluate, "nats += float(model.evaluation_loss(*batch)) * count", "nats = float(model.evaluation_loss(*batch)) * count", check_evaluation),
]  # fmt: skip


@pytest.mark.parametrize(("function", "old", "new", "check"), MISTAKES)
def test_a_mistake_in_the_second_part_is_noticed(function, old, new, check):
    check(5, 2)
    with mutated(function, old, new), pytest.raises((AssertionError, ValueError)):
        check(5, 2)


# --- without dropout ------------------------------------------------------------------------------


def with_and_without():
    """Make the same model twice, both training: with dropout everywhere, and with none."""
    dropping = GPT(dataclasses.replace(CONFIG, dropout=0.5), dtype=np.float64)
    plain = shaken_model(CONFIG)
    dropping.load_state_dict(plain.state_dict())
    return dropping, plain


V = np.linspace(-1.0, 1.0, shaken_model(CONFIG).num_parameters())
BATCH = batch_for(CONFIG, batch=3)
ONE_BY_ONE = [tuple(array[i : i + 1] for array in BATCH) for i in range(3)]


def numbers(result):
    """List what a measurement found, as arrays."""
    values = dataclasses.astuple(result) if dataclasses.is_dataclass(result) else [result]
    flat = [v.values() if isinstance(v, dict) else [v] for v in values]
    return [np.asarray(number) for group in flat for number in group if not isinstance(number, str)]


def classes_of(body):
    return classification.predict(GPTForClassification(body, 3), texts(5))[0]


MEASURES = {
    "a Hessian product": lambda model: curvature.Hessian(model, *BATCH) @ V,
    "a Gauss-Newton product": lambda model: curvature.GaussNewton(model, *BATCH) @ V,
    "the loss along a line": lambda model: curvature.loss_along(model, *BATCH, [V], [0.0, 0.1]),
    "the gradient's moments": lambda model: noise.gradient_moments(model, ONE_BY_ONE),
    "the gradient's noise": lambda model: noise.gradient_noise_scale(model, *BATCH),
    "each example's norm": lambda model: per_example.per_example_gradient_norms(model, *BATCH),
    "integrated gradients": lambda model: attribution.integrated_gradients(model, [1, 2], steps=3),
    "gradient times input": lambda model: attribution.gradient_times_input(model, [1, 2, 3]),
    "a logit's parts": lambda model: attribution.direct_logit_attribution(model, [1, 2, 3]),
    "an evaluation": lambda model: evaluation.evaluate(model, [BATCH]),
    "classes": classes_of,
    "a continuation": lambda model: model.generate(np.array([[1, 2]]), 2, temperature=0.0),
    "a log-likelihood": lambda model: model.log_likelihood(np.array([1, 2]), np.array([3])),
}


def differs(measure):
    dropping, plain = with_and_without()
    ours, expected = (numbers(measure(model)) for model in (dropping, plain))
    assert len(ours) == len(expected)
    return any(not np.array_equal(a, b) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize("name", MEASURES)
def test_what_promises_no_dropout_has_none_though_the_model_trains(name):
    assert not differs(MEASURES[name])


LEFT_ON = [
    (curvature._Curvature.__init__, ".eval()", "", "a Hessian product"),
    (curvature._Curvature.__init__, ".eval()", "", "a Gauss-Newton product"),
    (curvature.loss_along, ".eval()", "", "the loss along a line"),
    (noise.gradient_moments, "training=False", "training=True", "the gradient's moments"),
    (per_example._all_at_once, "training=False", "training=True", "each example's norm"),
    (attribution.integrated_gradients, "training=False", "training=True", "integrated gradients"),
    (evaluation.evaluate, "model.evaluating()", "model.unrolled()", "an evaluation"),
    (classification.predict, "model.evaluating()", "model.unrolled()", "classes"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "old", "new", "name"), LEFT_ON)
def test_dropout_that_is_left_on_is_noticed(function, old, new, name):
    with mutated(function, old, new):
        assert differs(MEASURES[name])

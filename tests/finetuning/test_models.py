"""Classification and preferences as models; responses whose prompts are masked."""

import dataclasses

import numpy as np
import pytest

from npgpt.data.sequences import LabelledTexts, PreferencePairs, Responses, pad
from npgpt.finetuning import LoRAConfig, apply_lora
from npgpt.finetuning.preferences import score_preferences, with_reference
from npgpt.models import GPT, GPTConfig, GPTForClassification, GPTForPreference
from npgpt.optim import AdamW
from npgpt.training import train_step
from tests.models.tiny import CONFIGS, shaken_model

CONFIG = GPTConfig(vocab_size=13, context_length=8, n_layers=2, n_heads=2, d_model=8)


def texts(seed=0, count=6):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 13, rng.integers(1, 9)) for _ in range(count)]
    return LabelledTexts(rows, rng.integers(0, 3, count))


def pairs(seed=0, count=4):
    rng = np.random.default_rng(seed)

    def side():
        rows = [rng.integers(0, 13, rng.integers(4, 9)) for _ in range(count)]
        return Responses(rows, [2] * count)

    return PreferencePairs(side(), side(), rng.standard_normal((count, 2)))


def test_what_is_padded_has_no_effect_on_a_class(backend):
    model = GPTForClassification(shaken_model(CONFIG), 3)
    token_ids, lengths, _ = texts().batch(np.arange(6))
    other = token_ids.copy()
    for row, length in zip(other, lengths, strict=True):
        row[length:] = 7
    np.testing.assert_array_equal(model.forward(token_ids, lengths), model.forward(other, lengths))
    alone = [
        model.forward(ids[None, :n], np.array([n]))[0]
        for ids, n in zip(token_ids, lengths, strict=True)
    ]
    np.testing.assert_allclose(model.forward(token_ids, lengths), alone, atol=1e-12)
    probabilities = model.probabilities(token_ids, lengths)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0)


def test_a_classifier_learns_a_rule():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 13, 5) for _ in range(60)]
    batch = LabelledTexts(rows, [int(row[2] > 6) for row in rows]).batch(np.arange(60))
    model = GPTForClassification(GPT(CONFIG), 2)
    optimizer = AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        train_step(model, optimizer, [batch])
    assert (model.forward(*batch[:2]).argmax(axis=-1) == batch[2]).mean() > 0.95


@pytest.mark.parametrize("tied", [True, False])
def test_a_classifiers_language_loss_is_that_of_the_texts_alone(tied, backend):
    body = shaken_model(dataclasses.replace(CONFIG, tie_embeddings=tied))
    batch = texts().batch(np.arange(6))
    rows = [ids[:n] for ids, n in zip(*batch[:2], strict=True)]
    inputs, targets = pad([row[:-1] for row in rows]), pad([row[1:] for row in rows], -100)
    language = body.loss(inputs, targets)
    model = GPTForClassification(body, 3, lm_coef=0.7)
    classes = model.evaluation_loss(*batch)
    assert model.loss(*batch) == pytest.approx(classes + 0.7 * language, abs=1e-12)
    assert model.evaluation_loss(*batch) == classes  # comparable between any lm_coef
    names = [name for name, _ in model.named_parameters()]
    assert ("lm_head.weight" in names) == (not tied)


def test_texts_of_one_token_have_no_next_ones(backend):
    model = GPTForClassification(shaken_model(CONFIG), 2, lm_coef=1.0)
    ids, lengths = np.array([[3], [4]]), np.array([1, 1])
    assert model.loss(ids, lengths, [0, 1]) == model.evaluation_loss(ids, lengths, [0, 1])
    model.loss_and_backward(ids, lengths, [0, 1])
    assert all(np.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("lengths", [[0, 1], [1, 6], [1], [[1, 1]]])
def test_lengths_that_do_not_fit_are_refused(lengths):
    model = GPTForClassification(GPT(CONFIG), 2)
    with pytest.raises(ValueError, match="lengths must be in 1 to 5"):
        model.forward(np.zeros((2, 5), int), np.array(lengths))


def test_a_classifier_of_one_class_is_refused():
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        GPTForClassification(GPT(CONFIG), 1)


def test_a_negative_weight_of_the_language_is_refused():
    with pytest.raises(ValueError, match="lm_coef must be at least 0"):
        GPTForClassification(GPT(CONFIG), 2, lm_coef=-0.5)


def test_masked_targets_get_exactly_no_gradient(backend):
    rng = np.random.default_rng(0)
    responses = Responses([rng.integers(0, 13, 9), rng.integers(0, 13, 6)], [4, 3])
    inputs, targets = responses.batch([0, 1])
    assert (targets[0, :3] == -100).all()
    assert (targets[1, 5:] == -100).all()
    model = shaken_model(CONFIG)
    model.loss(inputs, targets)
    dlogits = model.cross_entropy.backward()
    assert (dlogits[targets == -100] == 0.0).all()
    assert (dlogits[targets != -100] != 0.0).all()


def test_a_prompt_that_is_not_masked_counts():
    text = np.arange(6)
    _, masked = Responses([text], [3]).batch([0])
    _, whole = Responses([text], [3], mask_prompt=False).batch([0])
    assert masked.tolist() == [[-100, -100, 3, 4, 5]]
    assert whole.tolist() == [[1, 2, 3, 4, 5]]


def test_packed_rows_hold_every_target_once():
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, 13, n) for n in (9, 4, 5, 3, 6, 2)]
    responses = Responses(rows, [1, 2, 2, 1, 3, 1])
    packed = responses.packed(8)
    assert len(packed) < len(responses)
    assert packed.lengths.max() <= 8
    counted = [np.concatenate(r.targets) for r in (responses, packed)]
    expected, found = (sorted(t[t != -100].tolist()) for t in counted)
    assert found == expected


def test_the_loss_of_equal_models_is_log_2_and_its_gradient_raises_the_chosen(backend):
    model = GPTForPreference(shaken_model(CONFIG), beta=0.5)
    known = with_reference(model, pairs())
    batch = known.batch(np.arange(4))
    assert model.loss(*batch) == pytest.approx(np.log(2.0), abs=1e-12)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    for _ in range(20):
        loss, _ = train_step(model, optimizer, [batch])
    assert loss < 0.5
    scores = score_preferences(model, known)
    assert scores.reward_accuracy == 1.0
    assert scores.loss == pytest.approx(model.loss(*batch), rel=1e-6)


def test_the_preference_loss_is_finite_at_margins_that_overflow(backend):
    from npgpt import ops

    margin = np.array([1000.0, -1000.0])
    assert ops.preference_loss_forward(margin) == 500.0
    np.testing.assert_array_equal(ops.preference_loss_backward(1.0, margin), [0.0, -0.5])


@pytest.mark.parametrize("name", CONFIGS)
def test_log_probabilities_are_those_of_log_likelihood(name, backend):
    config = CONFIGS[name]
    model = shaken_model(config)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, config.vocab_size, n) for n in (7, 5)]
    inputs, targets = Responses(rows, [3, 2]).batch([0, 1])
    expected = [model.log_likelihood(row[:n], row[n:]) for row, n in zip(rows, (3, 2), strict=True)]
    found = GPTForPreference(model).log_probabilities(inputs, targets)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_lora_trains_a_classifiers_head_too():
    body = GPT(CONFIG)
    apply_lora(body, LoRAConfig(rank=2))
    model = GPTForClassification(body, 3)
    trained = {name for name in model.trained_state_dict() if "lora_" not in name}
    assert trained == {"body.head.weight"}
    optimizer = AdamW(model.parameters())
    train_step(model, optimizer, [texts().batch(np.arange(6))])


def test_preference_scores_are_means_over_pairs_whatever_the_batches():
    reference = GPTForPreference(shaken_model(CONFIG), beta=0.5)
    known = with_reference(reference, pairs())
    itself = score_preferences(reference, known)
    assert itself.loss == pytest.approx(np.log(2.0))
    assert (itself.margin, itself.reward_accuracy) == (0.0, 0.0)
    other = GPTForPreference(shaken_model(CONFIG, seed=5), beta=0.5)
    whole, apart = (score_preferences(other, known, size) for size in (4, 3))
    metrics = whole.to_metrics()
    assert metrics == pytest.approx(apart.to_metrics())
    assert metrics["rewards/margins"] == pytest.approx(other.forward(*known.batch(range(4))).mean())
    for side, column in (("chosen", 0), ("rejected", 1)):
        change = metrics[f"logps/{side}"] - known.reference[:, column].mean()
        assert metrics[f"rewards/{side}"] == pytest.approx(0.5 * change)


def of_objectives():
    ids, lengths, labels = texts().batch(np.arange(6))
    targets = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, -100)
    reference = np.linspace(-9.0, -4.0, 6)
    tied = dataclasses.replace(CONFIG, tie_embeddings=True)
    return {
        "next token": (shaken_model(CONFIG), (ids, targets)),
        "classes": (GPTForClassification(shaken_model(CONFIG), 3), (ids, lengths, labels)),
        "classes and language": (
            GPTForClassification(shaken_model(CONFIG), 3, lm_coef=0.7),
            (ids, lengths, labels),
        ),
        "classes and language, tied": (
            GPTForClassification(shaken_model(tied), 3, lm_coef=2.0),
            (ids, lengths, labels),
        ),
        "preference": (GPTForPreference(shaken_model(CONFIG)), (ids, targets, reference)),
    }


@pytest.mark.parametrize("name", of_objectives())
@pytest.mark.parametrize("dloss", [1.0, 0.3])
def test_loss_and_backward_returns_the_loss_whose_gradient_it_adds(name, dloss, backend):
    (apart, batch), (together, _) = of_objectives()[name], of_objectives()[name]
    loss = apart.loss(*batch)
    apart.backward(dloss)
    assert together.loss_and_backward(*batch, dloss=dloss) == pytest.approx(loss, abs=1e-13)
    for ours, theirs in zip(together.parameters(), apart.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, atol=1e-13)

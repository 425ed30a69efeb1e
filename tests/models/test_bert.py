"""BERT: what is padded changes nothing, only masked positions reach the head, parts are refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

import npgpt
from npgpt import ops, testing
from npgpt.gradients import per_example_gradient_norms, record
from npgpt.gradients.suite import shake
from npgpt.layers import LoRALinear
from npgpt.models import (
    MODELS,
    Bert,
    BertConfig,
    BertForClassification,
    BertForTokenClassification,
)
from tests.strategies import seeds

CONFIG = BertConfig(11, 8, n_layers=2, n_heads=2, d_model=8, layer_norm_eps=1e-5)
IDS = np.array([[1, 10, 3, 4, 5], [6, 10, 8, 0, 0], [10, 0, 0, 0, 0]])
LENGTHS = np.array([5, 3, 1])
TARGETS = np.full(IDS.shape, -100)
TARGETS[[0, 0, 1, 2], [1, 4, 1, 0]] = [2, 5, 7, 9]
SEGMENTS = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
BATCH = (IDS, TARGETS, SEGMENTS, LENGTHS)


def bert(dtype=np.float64, kind=Bert, **changes):
    model = kind(dataclasses.replace(CONFIG, **changes), seed=1, dtype=dtype)
    shake(model, np.random.default_rng(0))
    return model


def gradients(model):
    return {name: parameter.grad.copy() for name, parameter in model.named_parameters()}


def test_it_is_a_family_of_its_own():
    assert MODELS["bert"] is Bert
    assert Bert.Config.causal is False
    assert BertConfig.bert("base").head_size == 64
    assert BertConfig.bert("large", dropout=0.0).n_layers == 24
    with pytest.raises(ValueError, match="one of base, large"):
        BertConfig.bert("huge")
    with pytest.raises(ValueError, match="reads the pooler"):
        BertConfig(11, 8, 1, 1, 4, next_sentence=True)


def test_a_position_sees_both_sides():
    model = bert()
    before = model.hidden_states(IDS[:1])
    for place in (0, 4):
        changed = IDS[:1].copy()
        changed[0, place] = 9
        after = model.hidden_states(changed)
        assert np.abs(after - before).max(axis=-1).min() > 1e-6


# --- padding --------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    testing.layers(["Bert", "BertForClassification", "BertForTokenClassification"]),
    seeds,
)
def test_what_stands_in_padded_places_changes_nothing_not_one_bit(drawn, seed):
    model, (ids, *others) = drawn
    rng, arrays = (
        np.random.default_rng(seed),
        dict(zip(model.Batch._fields, (ids, *others), strict=False)),
    )
    arrays.setdefault("lengths", rng.integers(1, ids.shape[1] + 1, len(ids)))
    padded = np.arange(ids.shape[1]) >= arrays["lengths"][:, None]
    results = []
    for _ in range(2):
        model.dropout_step = 0
        model.zero_grad()
        loss = model.loss_and_backward(**arrays)
        results.append((loss, model.num_targets(**arrays), gradients(model)))
        for name, array in arrays.items():
            if array.ndim == 2:  # segments are 0 or 1 as a drawn config has them
                values = rng.integers(0, array.max() + 1 if name == "segments" else 2, ids.shape)
                arrays[name] = np.where(padded, values, array)
    assert results[0][:2] == results[1][:2]
    for name, grad in results[0][2].items():
        np.testing.assert_array_equal(grad, results[1][2][name], err_msg=name)


def test_a_padded_text_is_what_it_is_alone():
    model = bert()
    together = model.hidden_states(IDS, SEGMENTS, LENGTHS)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        alone = model.hidden_states(IDS[one, :length], SEGMENTS[one, :length])
        np.testing.assert_allclose(together[one, :length], alone, rtol=0, atol=1e-12)


def test_the_loss_is_the_mean_over_the_masked_words_of_the_texts_alone():
    model = bert()
    losses, counts = [], []
    for row, length in enumerate(LENGTHS):
        arrays = (IDS, TARGETS, SEGMENTS)
        batch = [array[row : row + 1, :length] for array in arrays]
        losses.append(model.loss(*batch))
        counts.append(model.num_targets(*batch))
    assert sum(counts) == model.num_targets(*BATCH) == 4
    assert model.num_tokens(*BATCH) == 9
    assert model.loss(*BATCH) == pytest.approx(np.average(losses, weights=counts), rel=1e-12)


# --- the head -------------------------------------------------------------------------------------


def test_only_masked_positions_go_through_the_head():
    model = bert()
    with record(model, "head.*") as tape:
        loss = model.loss_and_backward(*BATCH)
    assert tape["head.norm.output"].value.shape == (4, 8)
    assert tape["head.decoder.logits"].value.shape == (4, 11)
    logits = model.forward(IDS, SEGMENTS, LENGTHS)[TARGETS != -100]
    log_p = np.log(ops.softmax_forward(logits))
    assert loss == pytest.approx(-log_p[np.arange(4), TARGETS[TARGETS != -100]].mean(), rel=1e-12)


@pytest.mark.parametrize("backend", ops.BACKENDS)
@pytest.mark.parametrize("tied", [True, False])
def test_training_evaluation_and_steps_agree(backend, tied):
    with ops.use(backend):
        model, other = (bert(tie_embeddings=tied) for _ in range(2))
        loss = model.loss(*BATCH)
        model.backward(0.5)
        assert other.loss_and_backward(*BATCH, dloss=0.5) == pytest.approx(loss, rel=1e-12)
        assert other.evaluation_loss(*BATCH) == pytest.approx(loss, rel=1e-12)
    for name, grad in gradients(model).items():
        np.testing.assert_allclose(gradients(other)[name], grad, atol=1e-12, err_msg=name)


def test_a_block_that_recomputes_gives_the_same_numbers():
    one, other = (
        bert(dropout=0.2),
        bert(dropout=0.2, kind=lambda *a, **k: Bert(*a, **k, recompute=True)),
    )
    for model in (one, other):
        model.loss_and_backward(*BATCH)
    for name, grad in gradients(one).items():
        np.testing.assert_array_equal(grad, gradients(other)[name])


def test_frozen_beginnings_leave_the_rest_of_the_gradients_as_they_are():
    whole, last = bert(), bert()
    for name, parameter in last.named_parameters():
        if not name.startswith(("blocks.1", "head.dense")):
            parameter.freeze()
    for model in (whole, last):
        model.loss_and_backward(*BATCH)
    expected = gradients(whole)
    for name, parameter in last.named_parameters(trained_only=True):
        np.testing.assert_allclose(parameter.grad, expected[name], atol=1e-12)


def test_low_rank_additions_are_trained_and_merged():
    model = bert()
    before = model.forward(IDS, SEGMENTS, LENGTHS)
    names = npgpt.finetuning.apply_lora(model)
    assert "blocks.0.attention.qkv" in names
    np.testing.assert_array_equal(model.forward(IDS, SEGMENTS, LENGTHS), before)
    report = npgpt.gradcheck(model, *BATCH, method="complex", max_coordinates=10)
    assert report.passed
    assert sum(isinstance(layer, LoRALinear) for layer in model.layers()) == len(names)
    npgpt.finetuning.lora.merge_lora(model)
    np.testing.assert_allclose(model.forward(IDS, SEGMENTS, LENGTHS), before, atol=1e-12)


def test_gradients_of_single_texts_are_those_of_batches_of_one():
    model = bert()
    norms = per_example_gradient_norms(model, *BATCH)
    model.zero_grad()
    model.loss_and_backward(*(array[1:2] for array in BATCH))
    squares = sum(np.sum(grad**2) for grad in gradients(model).values())
    assert norms.total[1] == pytest.approx(np.sqrt(squares), rel=1e-9)


# --- what is missing, and what does not fit -------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "call", "message"),
    [
        (
            {"masked_head": False},
            lambda m: m.loss(*BATCH),
            "no head for masked words; make it with",
        ),
        ({"masked_head": False}, lambda m: m.forward(IDS), "no head for masked words"),
        ({}, lambda m: m.next_sentence_logits(IDS), "no head for the next sentence"),
        ({}, lambda m: m.hidden_states(IDS, lengths=[5, 0, 1]), "lengths must be in 1 to 5"),
        ({}, lambda m: m.hidden_states(IDS, lengths=[5, 6, 1]), "lengths must be in 1 to 5"),
        ({}, lambda m: m.hidden_states(IDS, lengths=[5.0, 3.0, 1.0]), "lengths must be in 1 to 5"),
        ({}, lambda m: m.hidden_states(IDS, SEGMENTS[:2]), "segments must be numbers from 0 to 1"),
        ({}, lambda m: m.hidden_states(IDS, SEGMENTS + 1), r"shape \(3, 5\) and up to 2"),
        ({}, lambda m: m.hidden_states(np.zeros((1, 9), int)), "longer than the context of 8"),
        ({}, lambda m: m.loss(IDS, np.full_like(IDS, -100)), "every target is ignore_index"),
        ({}, lambda m: m.loss(IDS, TARGETS[:2]), "targets must have the logits' shape"),
        ({}, lambda m: BertForClassification(m, 1), "num_classes must be at least 2"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_said(changes, call, message):
    with pytest.raises(ValueError, match=message):
        call(bert(**changes))


def test_backward_needs_a_loss():
    model = bert()
    model.loss(*BATCH)
    model.forward(IDS)
    with pytest.raises(RuntimeError, match="backward needs a call of loss"):
        model.backward()


def test_a_head_for_the_next_sentence_reads_the_pooler():
    model = bert(pooler=True, next_sentence=True)
    x = model.hidden_states(IDS, SEGMENTS, LENGTHS)
    pooled = np.tanh(x[:, 0] @ model.pooler.dense.weight.value.T + model.pooler.dense.bias.value)
    head = model.next_sentence_head
    expected = pooled @ head.weight.value.T + head.bias.value
    logits = model.next_sentence_logits(IDS, SEGMENTS, LENGTHS)
    np.testing.assert_allclose(logits, expected, atol=1e-12)


# --- classifiers ----------------------------------------------------------------------------------


def test_a_classifier_keeps_the_pooler_and_takes_off_the_heads():
    body = bert(pooler=True, next_sentence=True)
    weight = body.pooler.dense.weight.value.copy()
    model = BertForClassification(body, 3, seed=4)
    np.testing.assert_array_equal(model.body.pooler.dense.weight.value, weight)
    names = dict(model.named_parameters())
    assert {"classifier.weight", "classifier.bias", "body.pooler.dense.weight"} <= names.keys()
    assert not [name for name in names if "head" in name]
    assert (model.config.pooler, model.config.masked_head) == (True, False)
    probabilities = model.probabilities(IDS, LENGTHS)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0)
    fresh = BertForClassification(bert(), 3, seed=4)
    assert fresh.body.pooler is not None


def test_a_classifier_learns_what_its_texts_begin_with():
    rng = np.random.default_rng(0)
    body = Bert(CONFIG, seed=1)
    model = BertForClassification(body, 2, seed=2)
    ids = rng.integers(0, 11, (32, 6))
    labels, lengths = ids[:, 2] % 2, rng.integers(3, 7, 32)
    optimizer = npgpt.optim.AdamW(model.parameters(), lr=1e-2)
    batch = (ids, lengths, labels)
    for _ in range(60):
        loss, _ = npgpt.training.train_step(model, optimizer, [batch])
    assert loss < 0.1
    assert np.mean(model.probabilities(ids, lengths).argmax(axis=-1) == labels) > 0.9


def test_tokens_are_classified_where_they_have_a_label():
    model = BertForTokenClassification(bert(), 3, seed=2)
    labels = np.where(TARGETS != -100, TARGETS % 3, -100)
    loss = model.loss(IDS, LENGTHS, labels)
    assert model.num_targets(IDS, LENGTHS, labels) == 4
    log_p = np.log(model.probabilities(IDS, LENGTHS)[labels != -100])
    assert loss == pytest.approx(-log_p[np.arange(4), labels[labels != -100]].mean(), rel=1e-12)
    assert model.astype(np.float32).dtype == np.float32

"""The experiments that compare families of models measure what they say, at a small size."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt.experiments import compare_gradients, compare_language_models, compare_memories
from npgpt.experiments.gradient_by_distance import gradient_by_distance
from npgpt.experiments.memory import SYMBOLS, TASKS, accuracy_of
from npgpt.experiments.sizes import FAMILIES, configs_of_equal_size, num_parameters
from npgpt.models import MODELS
from npgpt.ops import IGNORE_INDEX, reference
from npgpt.plots.experiments import plot_gradients, plot_language_models, plot_memories
from npgpt.runs import RunConfig
from tests.runs.tiny_run import tiny_config

PNG = b"\x89PNG"


@given(parameters=st.integers(200_000, 3_000_000), vocab_size=st.integers(10, 200))
@settings(max_examples=5)
def test_models_of_equal_size_are_within_two_per_cent_of_the_gpt(parameters, vocab_size):
    configs = configs_of_equal_size(FAMILIES, parameters, vocab_size=vocab_size, context_length=128)
    counts = {kind: num_parameters(config) for kind, config in configs.items()}
    assert list(counts) == list(FAMILIES)
    for kind, count in counts.items():
        assert count == pytest.approx(counts["gpt"], rel=0.02), kind
    assert counts["gpt"] == pytest.approx(parameters, rel=0.08)  # its width goes by its heads


def test_parameters_are_counted_as_the_model_has_them():
    for kind, config in configs_of_equal_size(
        FAMILIES, 2_000, vocab_size=9, context_length=8
    ).items():
        assert num_parameters(config) == MODELS[kind](config).num_parameters()


# --- gradient by distance --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILIES)
def test_gradients_by_distance_are_those_of_the_embeddings(kind):
    """Where each token stands once, its row of the table gets the gradient of its position."""
    (config,) = configs_of_equal_size(
        [kind], 1_500, vocab_size=20, context_length=6, tie_embeddings=False
    ).values()
    model = MODELS[kind](config, dtype=np.float64)
    token_ids, target = np.arange(12).reshape(2, 6), [3, 4]
    norms = gradient_by_distance(model, token_ids, target)
    assert not model.token_embedding.weight.grad.any()  # the model is as it was
    for row, last in zip(token_ids, target, strict=True):
        targets = np.array([[IGNORE_INDEX] * 5 + [last]])
        model.loss_and_backward(row[None], targets)
    of_rows = np.linalg.norm(model.token_embedding.weight.grad[token_ids], axis=-1)
    np.testing.assert_allclose(norms, of_rows[:, ::-1], rtol=1e-12)


def test_gradients_of_an_rnn_are_the_product_of_its_steps():
    config = MODELS["rnn"].Config(7, 8, n_layers=1, d_model=5)
    model = MODELS["rnn"](config, dtype=np.float64)
    token_ids = np.random.default_rng(0).integers(0, 7, (1, 8))
    weights = {name: p.value for name, p in model.network.named_parameters()}
    hidden = model.hidden_states(token_ids)[0]
    logits = hidden[-1] @ model.head.weight.value.T
    dlogits = reference.softmax_forward(logits)
    dlogits[2] -= 1.0
    da = (dlogits @ model.head.weight.value) * (1.0 - hidden[-1] ** 2)
    expected = []
    for slope in 1.0 - hidden[:-1][::-1] ** 2:
        expected.append(np.linalg.norm(da @ weights["weight_ih_l0"]))
        da = (da @ weights["weight_hh_l0"]) * slope
    norms = gradient_by_distance(model, token_ids, [2])[0]
    np.testing.assert_allclose(norms[:-1], expected, rtol=1e-12)


def test_norms_that_float32_has_no_number_for_do_not_vanish():
    config = MODELS["rnn"].Config(7, 8, n_layers=1, d_model=4)
    model = MODELS["rnn"](config, dtype=np.float64)
    model.network.weight_hh_l0.value *= 1e-3
    norms = gradient_by_distance(model, np.ones((1, 80), int), [2])[0]
    assert norms[70] > 0.0
    assert 1e-300 < norms[70] < 1e-170  # squares of these would be 0


def test_an_lstm_keeps_more_of_the_gradient_than_an_rnn(tmp_path):
    config = tiny_config(tmp_path, model="rnn", context_length=32, dropout=0.0, steps=3)
    steps, told = [], []
    results = compare_gradients(
        config, ["rnn", "lstm", "gpt"], 31, 4, lambda *args: steps.append(args), told.append
    )
    assert results == told
    assert [(r.model, r.steps) for r in results] == [
        (kind, steps) for kind in ("rnn", "lstm", "gpt") for steps in (0, 3)
    ]
    assert steps[-1] == ("gpt", 3, 3)
    shares = {(r.model, r.steps): r.share(31) for r in results}
    for when in (0, 3):
        assert shares["lstm", when] > 10 * shares["rnn", when]
    assert all(len(r.norms) == 32 and r.loss < 4 for r in results)
    plot_gradients(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
    with pytest.raises(ValueError, match="below the context length, 32, got 32"):
        compare_gradients(config, distance=32)


# --- memory ----------------------------------------------------------------------------------------


class Oracle(NamedTuple):
    """A model that looks the answer up."""

    batch: object
    distance: int

    def forward(self, token_ids):
        """Be certain of what stands so far back."""
        seen = np.roll(token_ids, self.distance, axis=1)
        if self.batch is TASKS["copy"].batch:  # asked for by the mark at index distance
            seen = token_ids[:, np.maximum(np.arange(token_ids.shape[1]) - self.distance, 0)]
        return 1e3 * np.eye(SYMBOLS + 1)[seen]


@pytest.mark.parametrize("name", TASKS)
@given(rows=st.integers(1, 4), distance=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_who_remembers_everything_has_no_loss(name, rows, distance, seed):
    task = TASKS[name]
    token_ids, targets = task.batch(np.random.default_rng(seed), rows, distance)
    counts = targets != IGNORE_INDEX
    assert counts.sum() == rows * (distance if name == "copy" else 1)
    asked = np.argwhere(counts)
    assert all(targets[r, t] == token_ids[r, t - distance] for r, t in asked)
    assert all(token_ids[r, t + 1] == targets[r, t] for r, t in asked if t + 1 < token_ids.shape[1])
    assert ((token_ids == SYMBOLS).sum(axis=1) == 1).all()  # the mark
    assert (token_ids[:, distance] == SYMBOLS).all()
    oracle = Oracle(task.batch, distance)
    loss, *_ = reference.cross_entropy_forward(oracle.forward(token_ids), targets)
    assert loss == 0.0
    assert accuracy_of(oracle, task, distance) == 1.0


def test_what_is_learned_ends_its_training_early(tmp_path):
    told, results = [], []
    compare_memories(
        ["rnn", "conv"], ["copy", "recall-mixed"], (1, 2), 3_000, steps=120, batch_size=16, lr=2e-2,
        on_step=lambda *counts: told.append(counts), on_result=results.append,
    )  # fmt: skip
    assert [(r.task, r.distance, r.model) for r in results] == [
        ("copy", 1, "rnn"), ("copy", 1, "conv"), ("copy", 2, "rnn"), ("copy", 2, "conv"),
        ("recall-mixed", 1, "rnn"), ("recall-mixed", 2, "rnn"),
        ("recall-mixed", 1, "conv"), ("recall-mixed", 2, "conv"),
    ]  # fmt: skip
    assert results[0].accuracy == 1.0
    assert results[0].steps < 120
    assert told[0] == (1, 6 * 120)
    assert told[-1][0] <= 6 * 120
    plot_memories(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)


# --- language models -------------------------------------------------------------------------------


def test_language_models_get_equally_long(tmp_path):
    config = tiny_config(tmp_path, model="rnn")
    results, spent = [], []
    compare_language_models(
        config, ["rnn", "conv", "gpt"], 5_000, seconds=0.05, evaluations=2,
        on_time=lambda kind, seconds: spent.append((kind, seconds)), on_result=results.append,
    )  # fmt: skip
    assert [result.model for result in results] == ["rnn", "conv", "gpt"]
    assert spent[-1] == ("gpt", 0.05)
    for result in results:
        assert result.parameters == pytest.approx(results[-1].parameters, rel=0.1)
        assert len(result.steps) == len(result.seconds) == len(result.losses) == 3
        assert result.steps[0] == 0 < result.steps[1] < result.steps[2]
        assert 0.0 == result.seconds[0] < 0.025 <= result.seconds[1] < 0.05 <= result.seconds[2]
        rate = result.steps[-1] * config.batch_size * config.context_length / result.seconds[-1]
        assert 0.5 * rate < result.tokens_per_second <= 1.0001 * rate  # an epoch ends with less
        assert abs(result.losses[0] - math.log(20)) < 1.5
        between = dataclasses.replace(result, steps=[0, 10, 20], losses=[3.0, 2.0, 1.5])
        assert between.loss_at(15) == 1.75
    plot_language_models(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_language_models(RunConfig(), ["bert"]), "models must be of rnn, .*got bert"),
        (lambda: compare_language_models(RunConfig(), seconds=0), "seconds must be positive"),
        (lambda: compare_memories([]), "models must be of rnn, .*got none"),
        (lambda: compare_memories(tasks=["sing"]), "tasks must be of copy, .*got sing"),
        (lambda: compare_memories(distances=[0]), "distances must be at least 1"),
        (lambda: compare_memories(steps=0), "steps must be at least 1"),
        (lambda: compare_gradients(RunConfig(), ["bert"], 3), "models must be of rnn, .*got bert"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Gradients of single examples, and their noise."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npgpt
from npgpt.gradients import (
    gradient_flow,
    gradient_moments,
    gradient_noise_scale,
    per_example_gradient_norms,
)
from npgpt.gradients.per_example_rules import RULES
from npgpt.layers import Linear
from npgpt.layers.block_config import POSITIONS
from npgpt.models import MODELS


def make_model(seed=1, **changes):
    shape = {"n_layers": 2, "n_heads": 2, "d_model": 8, **changes}
    model = npgpt.GPT(npgpt.GPTConfig(11, 7, **shape), seed=seed, dtype=np.float64)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.shape)
    return model


def make_batch(batch=4, time=7, ignored=0.0, seed=0):
    rng = np.random.default_rng(seed)
    ids, targets = rng.integers(0, 11, (2, batch, time))
    targets[rng.random(targets.shape) < ignored] = -100
    return ids, targets


def loop(model, ids, targets):
    """Compute each example's gradient by a backward pass of its own."""
    grads = {name: [] for name, _ in model.named_parameters()}
    for b in range(len(ids)):
        model.zero_grad()
        if np.any(targets[b] != -100):
            model.loss(ids[b : b + 1], targets[b : b + 1])
            model.backward()
        for name, parameter in model.named_parameters():
            grads[name].append(parameter.grad.copy())
    return {name: np.stack(rows) for name, rows in grads.items()}


def norms_of(grads):
    return {
        name: np.linalg.norm(rows.reshape(len(rows), -1), axis=1) for name, rows in grads.items()
    }


@settings(max_examples=25)
@given(
    tied=st.booleans(),
    bias=st.booleans(),
    recompute=st.booleans(),
    time=st.integers(1, 7),
    batch=st.integers(1, 4),
    ignored=st.sampled_from([0.0, 0.6]),
    seed=st.integers(0, 1000),
)
def test_norms_equal_a_loop_of_single_backward_passes(
    tied, bias, recompute, time, batch, ignored, seed
):
    model = make_model(seed, tie_embeddings=tied, bias=bias)
    if recompute:
        other = npgpt.GPT(model.config, dtype=np.float64, recompute=True)
        other.load_state_dict(model.state_dict())
        model = other
    ids, targets = make_batch(batch, time, ignored, seed)
    targets[0, 0] = 3  # a batch without any target has no loss
    expected = norms_of(loop(model, ids, targets))
    norms = per_example_gradient_norms(model, ids, targets)
    assert norms.by_parameter.keys() == expected.keys()
    largest = max(array.max() for array in expected.values())
    for name, array in expected.items():
        # squares, because the root of a rounding error is no rounding error
        squares = norms.by_parameter[name] ** 2
        np.testing.assert_allclose(
            squares, array**2, rtol=1e-9, atol=1e-14 * largest**2, err_msg=name
        )
    total = np.sqrt(sum(array**2 for array in expected.values()))
    np.testing.assert_allclose(norms.total, total, rtol=1e-9)


@pytest.mark.parametrize("position", sorted(POSITIONS))
def test_norms_equal_the_loop_for_every_choice_of_layers(position):
    choices = {"norm": "rms", "activation": "swiglu", "n_kv_heads": 1, "bias": False}
    model, (ids, targets) = make_model(position=position, **choices), make_batch()
    expected = norms_of(loop(model, ids, targets))
    norms = per_example_gradient_norms(model, ids, targets)
    total = np.sqrt(sum(array**2 for array in expected.values()))
    np.testing.assert_allclose(norms.total, total, rtol=1e-9)


@settings(max_examples=20)
@given(
    kind=st.sampled_from(["rnn", "gru", "lstm", "conv"]),
    tied=st.booleans(), bias=st.booleans(), relu=st.booleans(), time=st.integers(1, 7),
    batch=st.integers(1, 4), ignored=st.sampled_from([0.0, 0.6]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_norms_equal_the_loop_without_attention(kind, tied, bias, relu, time, batch, ignored, seed):
    family, choices = MODELS[kind], {"tie_embeddings": tied, "bias": bias}
    if kind == "rnn" and relu:
        choices["nonlinearity"] = "relu"
    model = family(family.Config(11, 7, n_layers=2, d_model=5, **choices), seed, np.float64)
    for parameter in model.parameters():
        parameter.value += 0.3 * np.random.default_rng(seed).standard_normal(parameter.shape)
    ids, targets = make_batch(batch, time, ignored, seed)
    targets[0, 0] = 3
    expected = norms_of(loop(model, ids, targets))
    with forbidden_loop():
        norms = per_example_gradient_norms(model, ids, targets)
    largest = max(array.max() for array in expected.values())
    for name, array in expected.items():
        np.testing.assert_allclose(
            norms.by_parameter[name] ** 2,
            array**2,
            rtol=1e-9,
            atol=1e-14 * largest**2,
            err_msg=name,
        )


def test_a_batch_of_streams_is_measured_where_no_state_is_carried():
    family = MODELS["gru"]
    model = family(family.Config(11, 7, n_layers=1, d_model=4), 0, np.float64)
    batch = family.Batch(*make_batch())
    assert per_example_gradient_norms(model, *batch).total.shape == (4,)
    with pytest.raises(ValueError, match="got 3 arrays; each example is a text of its own"):
        per_example_gradient_norms(model, *batch._replace(begins=np.ones(4, bool)))


@contextmanager
def forbidden_loop():
    """Fail where examples are measured one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("npgpt.gradients.per_example._one_by_one", None)
        yield


def test_both_ways_to_a_matrix_norm_agree(monkeypatch):
    model, batch = make_model(tie_embeddings=False), make_batch()
    norms = []
    for formed in (True, False):
        monkeypatch.setattr(
            "npgpt.gradients.per_example_rules._forming_is_cheaper",
            lambda term, formed=formed: formed and term.left.ndim == 3,
        )
        norms.append(per_example_gradient_norms(model, *batch).total)
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-12)


def test_frozen_parameters_do_not_count():
    model, (ids, targets) = make_model(), make_batch()
    for parameter in model.blocks[0].parameters():
        parameter.freeze()
    norms = per_example_gradient_norms(model, ids, targets)
    assert all("blocks.0" not in name for name in norms.by_parameter)
    squares = sum(array**2 for array in norms.by_parameter.values())
    np.testing.assert_allclose(norms.total**2, squares, rtol=1e-12)
    moments = gradient_moments(model, [(ids, targets)] * 2)
    assert moments.mean.keys() == norms.by_parameter.keys()
    assert gradient_noise_scale(model, ids, targets).noise > 0
    assert all("blocks.0" not in row.name for row in gradient_flow(model, ids, targets).parameters)


def test_a_layer_without_a_rule_is_measured_one_example_at_a_time(monkeypatch):
    model, (ids, targets) = make_model(), make_batch()
    expected = per_example_gradient_norms(model, ids, targets)
    monkeypatch.delitem(RULES, Linear)
    again = per_example_gradient_norms(model, ids, targets)
    np.testing.assert_allclose(again.total, expected.total, rtol=1e-9)


def test_the_model_is_left_as_it_was():
    model, batch = make_model(dropout=0.2).train(), make_batch()
    model.loss_and_backward(*batch)
    grads = [parameter.grad.copy() for parameter in model.parameters()]
    step = model.dropout_step
    gradient_noise_scale(model, *batch)
    gradient_moments(model, [batch, batch])
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)
    assert (model.training, model.dropout_step) == (True, step)
    assert all("backward" not in vars(layer) for layer in model.layers())


def test_noise_and_signal_are_those_of_the_single_gradients():
    model, (ids, targets) = make_model(), make_batch(batch=6)
    grads = loop(model, ids, targets)
    rows = np.concatenate([array.reshape(6, -1) for array in grads.values()], axis=1)
    variance = np.var(rows, axis=0, ddof=1).sum()
    noise = gradient_noise_scale(model, ids, targets)
    assert noise.noise == pytest.approx(variance, rel=1e-9)
    assert noise.signal == pytest.approx(np.sum(rows.mean(axis=0) ** 2) - variance / 6, rel=1e-8)
    assert noise.scale == pytest.approx(max(0, noise.noise / noise.signal)) or noise.signal <= 0


def test_examples_that_are_alike_have_no_noise():
    model, (ids, targets) = make_model(), make_batch(batch=1)
    noise = gradient_noise_scale(model, np.repeat(ids, 3, axis=0), np.repeat(targets, 3, axis=0))
    assert noise.scale == pytest.approx(0.0, abs=1e-9)


def test_moments_are_numpys_mean_and_variance():
    model, (ids, targets) = make_model(), make_batch(batch=5)
    grads = loop(model, ids, targets)
    batches = [(ids[b : b + 1], targets[b : b + 1]) for b in range(5)]
    moments = gradient_moments(model, batches)
    assert moments.batches == 5
    for name, rows in grads.items():
        np.testing.assert_allclose(moments.mean[name], rows.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(moments.variance[name], rows.var(axis=0, ddof=1), atol=1e-12)


def test_one_example_or_batch_is_too_few():
    model, batch = make_model(), make_batch(batch=1)
    with pytest.raises(ValueError, match="needs at least 2 examples, got 1"):
        gradient_noise_scale(model, *batch)
    with pytest.raises(ValueError, match="needs at least 2 batches, got 1"):
        gradient_moments(model, [batch])


@pytest.mark.parametrize(("batch", "columns"), [(3, 3), (20, 3)])
def test_results_print_and_show_in_a_notebook(batch, columns):
    model, (ids, targets) = make_model(), make_batch(batch)
    norms = per_example_gradient_norms(model, ids, targets)
    assert str(norms).splitlines()[-1].startswith("all parameters")
    assert norms._repr_html_().count("<tr>") == 2 + len(norms.by_parameter)
    assert len(norms.table()[0]) == 1 + columns
    moments = gradient_moments(model, [(ids[:1], targets[:1]), (ids[1:2], targets[1:2])])
    assert "final_norm.gamma" in str(moments)
    assert "over 2 batches" in moments._repr_html_()
    assert "examples" in str(gradient_noise_scale(model, ids, targets))

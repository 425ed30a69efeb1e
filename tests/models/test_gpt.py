"""The whole model."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from npgpt.layers.core.names import pattern_of
from npgpt.models import GPT, GPTConfig

ROOT = Path(__file__).resolve().parents[2]
SHAPE = {"vocab_size": 11, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 8}


def batch(seed=0, shape=(2, 8), vocab_size=11):
    rng = np.random.default_rng(seed)
    return rng.integers(0, vocab_size, shape), rng.integers(0, vocab_size, shape)


def test_the_first_loss_is_that_of_a_uniform_guess():
    model = GPT(GPTConfig(**{**SHAPE, "vocab_size": 1000, "d_model": 64}))
    inputs, targets = batch(0, (4, 8), 1000)
    assert abs(model.loss(inputs, targets) - math.log(1000)) < 0.1


def test_weights_start_as_gpt2s():
    model = GPT(GPTConfig(1000, 64, n_layers=8, n_heads=4, d_model=128), seed=3)
    residual_std = 0.02 / math.sqrt(2 * 8)
    for name, parameter in model.named_parameters():
        if name.endswith((".projection.weight", ".down.weight")):
            assert abs(parameter.value.std() / residual_std - 1) < 0.05, name
        elif name.endswith("weight"):
            assert abs(parameter.value.std() / 0.02 - 1) < 0.05, name
        else:
            assert (parameter.value == (1.0 if name.endswith("gamma") else 0.0)).all(), name


def test_the_same_seed_gives_the_same_weights_in_every_dtype():
    a, b = (GPT(GPTConfig(**SHAPE), seed=5, dtype=d).state_dict() for d in (np.float32, np.float64))
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name].astype(np.float32))
    other = GPT(GPTConfig(**SHAPE), seed=6).state_dict()
    assert not np.array_equal(a["token_embedding.weight"], other["token_embedding.weight"])


def test_accumulated_gradients_of_small_batches_are_those_of_the_large_one(backend):
    model = GPT(GPTConfig(**SHAPE), dtype=np.float64)
    inputs, targets = batch(1, (4, 8))
    whole = model.loss(inputs, targets)
    model.backward()
    expected = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    parts = 0.0
    for i in range(4):
        parts += model.loss(inputs[i : i + 1], targets[i : i + 1]) / 4
        model.backward(1 / 4)
    assert abs(parts - whole) < 1e-14
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, atol=1e-15)


def test_ignored_targets_have_no_influence(backend):
    model = GPT(GPTConfig(**SHAPE), dtype=np.float64)
    inputs, targets = batch(2)
    targets[:, 4:] = -100
    whole = model.loss(inputs, targets)
    short = model.loss(inputs[:, :4], targets[:, :4])
    assert abs(whole - short) < 1e-14


def test_backward_without_a_loss_is_refused():
    model = GPT(GPTConfig(**SHAPE))
    with pytest.raises(RuntimeError, match="needs a call of loss"):
        model.backward()
    inputs, targets = batch()
    model.loss(inputs, targets)
    model.forward(inputs[:1])  # the loss before it belongs to another forward pass
    with pytest.raises(RuntimeError, match="needs a call of loss"):
        model.backward()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((1, 9), int), "sequence of 9 tokens is longer than the context of 8"),
        (np.array([[0, 11]]), r"Embedding 'token_embedding': token id 11 at index \(0, 1\)"),
        (np.zeros(3, int), r"must have shape \(batch, time\)"),
        (np.zeros((2, 0), int), r"must have shape \(batch, time\)"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        GPT(GPTConfig(**SHAPE)).forward(ids)


def test_names_are_the_documented_ones():
    """The page on GPT-2's files lists every parameter's name; in a block without its number."""
    page = (ROOT / "docs" / "use" / "gpt2.md").read_text(encoding="utf-8")
    documented = re.findall(r'\bName\("([\w.]+)"', page)
    documented += [f"blocks.*.{name}" for name in re.findall(r'\bblock\(\s*"([\w.]+)"', page)]
    tied, untied = (
        [pattern_of(name)[0] for name, _ in model.named_parameters()]
        for model in (GPT(GPTConfig(**SHAPE)), GPT(GPTConfig(**SHAPE, tie_embeddings=False)))
    )
    assert set(tied) == set(documented) - {"head.weight"}  # tied: one parameter, one name
    assert set(untied) == {*tied, "head.weight"}
    assert tied[:2] == documented[:2] == ["token_embedding.weight", "position_embedding.weight"]


def test_the_summary_adds_up_and_prints_every_parameter_once():
    model = GPT(GPTConfig(**{**SHAPE, "n_layers": 3}))
    summary = model.summary()
    assert sum(row.parameters for row in summary.rows) == summary.total == model.num_parameters()
    text = str(summary)
    assert "blocks.0-2.attention.qkv.weight" in text
    assert "24 x 8  (3 of)" in text
    assert f"{model.num_parameters():,}" in text.splitlines()[-1]


def test_dropout_steps_are_set_for_every_layer_at_once():
    model = GPT(GPTConfig(**SHAPE, dropout=0.5))
    inputs, targets = batch()
    first = model.loss(inputs, targets)
    assert model.dropout_step == 1
    second = model.loss(inputs, targets)
    model.dropout_step = 0
    assert model.loss(inputs, targets) == first != second

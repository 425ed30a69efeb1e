"""Every combination of a GPT's choices: gradients, causality, sizes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given

from npgpt import ops, testing
from npgpt.data import DataLoader, TokenWindows
from npgpt.gradients import direct_logit_attribution, integrated_gradients, record
from npgpt.models import GPT, GPTConfig, MemoryPlan
from npgpt.models.memory import num_parameters
from npgpt.optim import AdamW
from npgpt.training import Trainer
from tests.layers.configs import CHOICES
from tests.strategies import normal, seeds

VOCAB_SIZE = 7
LLAMA = {
    "position": "rope", "norm": "rms", "activation": "swiglu", "n_kv_heads": 2, "bias": False,
    "tie_embeddings": False,
}  # fmt: skip


def configs():
    return testing.configs(GPTConfig, vocab_size=VOCAB_SIZE)


def shaken(config, seed, dtype=np.float64, recompute=False):
    model = GPT(config, seed=seed % 1000, dtype=dtype, recompute=recompute)
    for i, parameter in enumerate(model.parameters()):
        parameter.value += normal(seed + i, parameter.shape, dtype, scale=0.3)
    return model


def batch(seed, shape=(2, 5)):
    return np.random.default_rng(seed).integers(0, VOCAB_SIZE, (2, *shape))


@given(configs(), seeds)
def test_parameters_are_counted_and_configs_survive_json(config, seed):
    assert num_parameters(config) == GPT(config).num_parameters()
    assert GPTConfig.from_dict(config.to_dict()) == config


@given(configs(), seeds)
def test_no_position_sees_the_future(config, seed):
    model = shaken(config, seed).eval()
    ids, other = batch(seed)
    other[:, :3] = ids[:, :3]
    same = np.abs(model.forward(ids)[:, :3] - model.forward(other)[:, :3])
    np.testing.assert_allclose(same, 0.0, atol=1e-12)


@given(configs(), seeds)
def test_recording_changes_nothing_and_hears_every_tap(config, seed):
    model = shaken(config, seed).eval()
    inputs, targets = batch(seed)
    losses, gradients = [], []
    for listening in (False, True):
        model.zero_grad()
        if listening:
            with record(model) as tape:
                losses.append(model.loss_and_backward(inputs, targets))
            assert list(tape) == [name for name in tape if name in set(model.tap_names())]
            assert set(tape) == set(model.tap_names())
            assert all(array.grad.shape == array.value.shape for array in tape.values())
        else:
            losses.append(model.loss_and_backward(inputs, targets))
        gradients.append([p.grad.copy() for p in model.parameters()])
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-12)
    for fused, in_steps in zip(*gradients, strict=True):
        np.testing.assert_allclose(fused, in_steps, atol=1e-12)


@given(configs(), seeds)
def test_a_logit_is_the_sum_of_its_parts_or_the_model_is_refused(config, seed):
    model = shaken(config, seed)
    ids = batch(seed)[0, 0]
    if not config.shortcut or config.norm_position != "pre":
        with pytest.raises(ValueError, match="which needs shortcut=True and norm_position='pre'"):
            direct_logit_attribution(model, ids)
        return
    parts = direct_logit_attribution(model, ids)
    np.testing.assert_allclose(parts.values.sum(), parts.logit, atol=1e-10)
    assert integrated_gradients(model, ids, steps=4).values.shape == (5,)


@pytest.mark.parametrize("position", CHOICES["position"])
def test_only_learned_positions_end_with_the_context(position):
    config = GPTConfig(VOCAB_SIZE, 6, 1, 2, 8, position=position)
    ids = np.zeros((1, 40), int)
    if position == "learned":
        assert config.max_length == 6
        with pytest.raises(ValueError, match="40 tokens is longer than the context of 6"):
            GPT(config).forward(ids)
    else:
        assert config.max_length is None
        assert np.isfinite(GPT(config).loss(ids, ids))


def test_t5s_bias_is_one_table_for_all_blocks():
    model = GPT(GPTConfig(VOCAB_SIZE, 6, 3, 2, 8, position="t5"))
    names = [name for name, _ in model.named_parameters() if "position_bias" in name]
    assert names == ["blocks.0.attention.position_bias.weight"]
    assert len({id(block.attention.position_bias.weight) for block in model.blocks}) == 1


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    "choices",
    [
        LLAMA,
        {"position": "t5", "norm_position": "post"},
        {"norm": "none", "position": "alibi", "window": 16},
        {"shortcut": False, "activation": "relu", "dropout": 0.1},
        {"norm_position": "post", "shortcut": False, "norm": "rms", "n_kv_heads": 1},
        {"position": "sinusoidal", "activation": "gelu_exact", "dropout": 0.1, "norm_position": "post"},
    ],
)  # fmt: skip
def test_the_memory_plan_holds_for_other_choices(choices, recompute):
    config = GPTConfig(70, 64, 3, 4, 128, **choices)
    model = GPT(config, recompute=recompute)
    ids = np.random.default_rng(0).integers(0, 70, (8, 65))
    with ops.use("compiled"), ops.Workspace() as workspace:
        for _ in range(3):
            model.zero_grad()
            model.loss_and_backward(ids[:, :-1], ids[:, 1:])
    plan = MemoryPlan.of(config, 8, 64, recompute)
    assert workspace.bytes_made == pytest.approx(plan.saved + plan.working + plan.logits, rel=0.05)


def test_a_llama_shaped_gpt_learns():
    config = GPTConfig(VOCAB_SIZE, 16, 2, 4, 32, **LLAMA)
    model = GPT(config, seed=0)
    assert all("bias" not in name and "beta" not in name for name, _ in model.named_parameters())
    ids = np.arange(3000) ** 2 % VOCAB_SIZE  # of period 7
    loader = DataLoader(TokenWindows(ids, 16), batch_size=8, shuffle=True)
    before = float(model.evaluation_loss(ids[None, :16], ids[None, 1:17]))
    Trainer(model, loader, steps=60, optimizer=AdamW(model.parameters(), lr=1e-2)).fit()
    after = float(model.evaluation_loss(ids[None, :16], ids[None, 1:17]))
    assert before > 1.8
    assert after < 0.5


def test_a_model_of_new_choices_keeps_the_old_ones_weights():
    """The same seed gives the same weights, whatever is chosen that has none."""
    plain = GPTConfig(VOCAB_SIZE, 6, 2, 2, 8, position="none")
    for choices in (
        {"position": "rope"},
        {"window": 2},
        {"activation": "relu"},
        {"shortcut": False},
    ):
        other = GPT(dataclasses.replace(plain, **choices)).state_dict()
        for name, value in GPT(plain).state_dict().items():
            np.testing.assert_array_equal(value, other[name])

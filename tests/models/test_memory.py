"""The memory plan, against what a step really takes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import ops
from npgpt.finetuning import LoRAConfig, apply_lora
from npgpt.finetuning.freezing import train_last_block
from npgpt.models import (
    GPT,
    MODELS,
    GPTConfig,
    MemoryPlan,
    RNNAttentionConfig,
    TransformerConfig,
)
from npgpt.models.memory import OF_NUMPY, num_parameters
from npgpt.models.model import family_of
from npgpt.models.rehearsed_pairs import pair_batch
from npgpt.runs import measure_generation, measure_step


@given(
    vocab_size=st.integers(1, 40),
    context_length=st.integers(1, 9),
    n_layers=st.integers(1, 3),
    n_heads=st.integers(1, 3),
    d_ff=st.one_of(st.none(), st.integers(1, 9)),
    bias=st.booleans(),
    tie_embeddings=st.booleans(),
)
def test_parameters_are_counted_without_making_them(n_heads, **fields):
    config = GPTConfig(n_heads=n_heads, d_model=2 * n_heads, **fields)
    assert num_parameters(config) == GPT(config).num_parameters()


@settings(max_examples=8)
@given(
    n_layers=st.integers(1, 5),
    vocab_size=st.sampled_from([70, 500]),
    d_ff=st.sampled_from([None, 96]),
    dropout=st.sampled_from([0.0, 0.1]),
    recompute=st.booleans(),
)
def test_the_plan_counts_the_arrays_of_a_step(n_layers, vocab_size, d_ff, dropout, recompute):
    config = GPTConfig(vocab_size, 64, n_layers, 4, 128, d_ff, dropout)
    model = GPT(config, recompute=recompute)
    ids = np.random.default_rng(0).integers(0, vocab_size, (8, 65))
    with ops.use("compiled"), ops.Workspace() as workspace:
        for _ in range(3):
            model.zero_grad()
            model.loss_and_backward(ids[:, :-1], ids[:, 1:])
    plan = MemoryPlan.of(config, 8, 64, recompute)
    assert workspace.bytes_made == pytest.approx(plan.saved + plan.working + plan.logits, rel=0.03)


@pytest.mark.parametrize("method", ["full", "last-block", "lora"])
@pytest.mark.parametrize(
    "fields", [{}, {"bias": False, "n_kv_heads": 2, "activation": "swiglu", "norm": "rms"}]
)
def test_frozen_parameters_are_counted_without_gradients_and_moments(method, fields):
    config = GPTConfig(70, 16, 3, 4, 32, **fields)
    model = GPT(config)
    if method == "lora":
        apply_lora(model, LoRAConfig(rank=3))
    elif method == "last-block":
        train_last_block(model)
    plan = MemoryPlan.of(config, 2, 16, method=method, rank=3)
    assert plan.parameters == 4 * model.num_parameters()
    assert plan.gradients == 4 * model.num_parameters(trained_only=True)
    assert plan.moments == 2 * plan.gradients
    with pytest.raises(ValueError, match="method must be full, last-block or lora"):
        MemoryPlan.of(config, 2, 16, method="half")


@pytest.mark.parametrize("method", ["last-block", "lora"])
def test_the_plan_counts_the_arrays_of_a_step_with_frozen_parameters(method):
    config = GPTConfig(70, 64, 4, 4, 128)
    model = GPT(config)
    if method == "lora":
        apply_lora(model, LoRAConfig(rank=8))
    else:
        train_last_block(model)
    ids = np.random.default_rng(0).integers(0, 70, (8, 65))
    with ops.use("compiled"), ops.Workspace() as workspace:
        for _ in range(3):
            model.zero_grad()
            model.loss_and_backward(ids[:, :-1], ids[:, 1:])
    plan = MemoryPlan.of(config, 8, 64, method=method)
    assert workspace.bytes_made == pytest.approx(plan.saved + plan.working + plan.logits, rel=0.05)


WITHOUT_ATTENTION = ["rnn", "gru", "lstm", "conv"]


@settings(max_examples=8)
@given(
    kind=st.sampled_from(WITHOUT_ATTENTION),
    n_layers=st.integers(1, 4),
    vocab_size=st.sampled_from([70, 500]),
    dropout=st.sampled_from([0.0, 0.1]),
)
def test_the_plan_counts_the_arrays_of_a_step_without_attention(
    kind, n_layers, vocab_size, dropout
):
    family, ids = MODELS[kind], np.random.default_rng(0).integers(0, vocab_size, (8, 65))
    config = family.Config(vocab_size, 64, n_layers=n_layers, d_model=128, dropout=dropout)
    model = family(config)
    with ops.use("compiled"), ops.Workspace() as workspace:
        for _ in range(3):
            model.zero_grad()
            model.loss_and_backward(ids[:, :-1], ids[:, 1:])
    plan = MemoryPlan.of(config, 8, 64)
    assert plan.parameters == 4 * model.num_parameters()
    working = plan.working - 4 * OF_NUMPY * 8 * 64 * 128  # which no workspace makes
    assert workspace.bytes_made == pytest.approx(plan.saved + working + plan.logits, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WITHOUT_ATTENTION)
def test_without_attention_larger_steps_and_texts_are_predicted_within_a_tenth(kind):
    small, large = (MODELS[kind].Config(1000, 128, n_layers=n, d_model=256) for n in (1, 6))
    predicted = MemoryPlan.of(large, 32, 128).total - MemoryPlan.of(small, 1, 128).total
    measured = measure_step(large, 32, 128) - measure_step(small, 1, 128)
    assert predicted == pytest.approx(measured, rel=0.1)
    plans = [MemoryPlan.of_generation(large, 64, 512), MemoryPlan.of_generation(small, 1, 32)]
    measured = measure_generation(large, 64, 512) - measure_generation(small, 1, 32)
    assert plans[0].total - plans[1].total == pytest.approx(measured, rel=0.1)


def test_what_only_blocks_can_is_refused_without_them():
    config = MODELS["gru"].Config(70, 8, n_layers=1, d_model=8)
    with pytest.raises(
        ValueError, match="Recomputing blocks needs a GPT, and this model has a GRU"
    ):
        MemoryPlan.of(config, 2, 8, recompute=True)
    with pytest.raises(ValueError, match="Method lora needs a GPT"):
        MemoryPlan.of(config, 2, 8, method="lora")


@pytest.mark.parametrize("n_kv_heads", [None, 2])
def test_the_cache_is_counted_as_it_is_made(n_kv_heads):
    config = GPTConfig(70, 32, 3, 4, 32, n_kv_heads=n_kv_heads)
    for time in (20, 50):  # the second is longer than the context
        decoder = GPT(config).eval().decoder(time - 10)
        decoder.start([np.arange(10)] * 3)
        made = sum(state.keys.nbytes + state.values.nbytes for state in decoder._states)
        # the last new token is never read, so its place is not made
        assert MemoryPlan.of_generation(config, 3, min(time - 1, 32)).cache == made


@pytest.mark.slow
def test_what_longer_generation_adds_is_predicted_within_a_tenth():
    small, large = (GPTConfig(1000, 512, n_layers, 4, 256) for n_layers in (1, 8))
    predicted = MemoryPlan.of_generation(large, 32, 512).total
    predicted -= MemoryPlan.of_generation(small, 1, 32).total
    measured = measure_generation(large, 32, 512) - measure_generation(small, 1, 32)
    assert predicted == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.slow
def test_what_a_larger_step_adds_is_predicted_within_a_tenth(recompute):
    # a difference of two processes, so that the size of the libraries does not matter
    small, large = (GPTConfig(1000, 128, n_layers, 4, 256) for n_layers in (1, 6))
    predicted = MemoryPlan.of(large, 32, 128, recompute).total
    predicted -= MemoryPlan.of(small, 1, 128, recompute).total
    measured = measure_step(large, 32, 128, recompute) - measure_step(small, 1, 128, recompute)
    assert predicted == pytest.approx(measured, rel=0.1)


def test_memory_grows_in_a_straight_line_with_the_context():
    config = GPTConfig(100, 4096, 2, 2, 32)
    sizes = [MemoryPlan.of(config, 1, time).saved for time in (512, 1024, 2048)]
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0])


@pytest.mark.parametrize(
    "config",
    [
        TransformerConfig(40, 32, n_layers=2, n_heads=2, d_model=32),
        RNNAttentionConfig(40, 32, n_layers=1, d_model=32),
    ],
)
def test_the_plan_counts_the_arrays_of_a_step_on_pairs(config):
    batch = pair_batch(config, 24, 20)
    model = family_of(type(config))(config)
    with ops.use("compiled"), ops.Workspace() as workspace:
        for _ in range(2):
            model.loss_and_backward(*batch)
    plan = MemoryPlan.of(config, 24, 20)
    counted = plan.saved + plan.working + plan.logits
    assert workspace.bytes_made == pytest.approx(counted, rel=0.12)
    assert plan.parameters == 4 * model.num_parameters()
    with pytest.raises(ValueError, match="Method lora needs a GPT"):
        MemoryPlan.of(config, 24, 20, method="lora")

"""Freezing, and low-rank additions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import layers, testing
from npgpt.finetuning import LoRAConfig, apply_lora, lora_layers, merge_lora, train_only
from npgpt.models import GPT, GPTConfig
from npgpt.optim import AdamW
from tests.models.tiny import CONFIGS, batch_for, shaken_model

CONFIG = GPTConfig(vocab_size=13, context_length=8, n_layers=3, n_heads=2, d_model=8)


def lora_model(dtype=np.float64, **changes):
    model = shaken_model(CONFIG, dtype=dtype)
    apply_lora(model, LoRAConfig(**{"rank": 2, **changes}))
    rng = np.random.default_rng(1)
    for _, layer in lora_layers(model):
        layer.lora_B.value += rng.standard_normal(layer.lora_B.shape).astype(dtype)
    return model


@given(
    testing.shapes(5, min_axes=1, max_axes=2),
    st.integers(1, 7),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([0.0, 0.4]),
    st.integers(0, 99),
)
def test_gradients_of_lora_linear(shape, d_out, rank, bias, dropout, seed):
    rng = np.random.default_rng(seed)
    layer = layers.LoRALinear(5, d_out, rank, bias=bias, dropout=dropout, seed=seed, rng=rng)
    layer.lora_B.value += rng.standard_normal((d_out, rank)).astype(np.float32)
    testing.assert_gradients_correct(layer, rng.standard_normal(shape), max_coordinates=20)


@pytest.mark.parametrize("train", [["*"], ["final_norm.*"], ["blocks.1.*", "head.*"], ["*.bias"]])
@pytest.mark.parametrize("name", ["tied", "untied, no biases"])
def test_frozen_parameters_get_no_gradient_and_the_others_the_same(name, train, backend):
    config = CONFIGS[name]
    if "*.bias" in train and not config.bias:
        train = ["*.gamma"]
    if config.tie_embeddings:
        train = [pattern.replace("head.*", "token_embedding.*") for pattern in train]
    batch = batch_for(config)
    whole, model = shaken_model(config), shaken_model(config)
    loss = whole.loss_and_backward(*batch)
    trained = train_only(model, train)
    assert model.loss_and_backward(*batch) == loss
    expected = dict(whole.named_parameters())
    for parameter_name, parameter in model.named_parameters():
        if parameter_name in trained:
            np.testing.assert_allclose(parameter.grad, expected[parameter_name].grad, atol=1e-14)
        else:
            assert parameter.grad is None


def test_the_optimiser_keeps_state_for_trained_parameters_only():
    model = shaken_model(CONFIG)
    trained = train_only(model, ["blocks.2.*", "final_norm.*"])
    frozen = {n: v.copy() for n, v in model.state_dict().items() if n not in trained}
    optimizer = AdamW(model.parameters(), lr=0.1)
    assert sum(m.size for m in optimizer.m) == model.num_parameters(trained_only=True)
    before = {n: v.copy() for n, v in model.trained_state_dict().items()}
    for _ in range(2):
        optimizer.zero_grad()
        model.loss_and_backward(*batch_for(CONFIG))
        assert layers.flat_of(optimizer.parameters) is not None
        optimizer.step()
    for name, value in model.state_dict().items():
        assert np.array_equal(value, frozen[name] if name in frozen else before[name]) == (
            name in frozen
        )


def test_backward_stops_below_the_last_trained_parameter():
    model = shaken_model(CONFIG)
    train_only(model, ["blocks.1.feed_forward.*"])
    model.loss(*batch_for(CONFIG))
    model.blocks[0].backward = None  # would raise a TypeError if it were called
    model.backward()


def test_unfreezing_gives_gradients_again():
    model, whole = shaken_model(CONFIG), shaken_model(CONFIG)
    train_only(model, ["final_norm.*"])
    train_only(model, ["*"])
    for each in (model, whole):
        each.loss_and_backward(*batch_for(CONFIG))
    for mine, expected in zip(model.parameters(), whole.parameters(), strict=True):
        np.testing.assert_array_equal(mine.grad, expected.grad)


def test_lora_starts_as_the_model_was():
    model = shaken_model(CONFIG, dtype=np.float32)
    inputs, _ = batch_for(CONFIG)
    before = model.forward(inputs)
    assert len(apply_lora(model)) == 4 * CONFIG.n_layers
    np.testing.assert_array_equal(model.forward(inputs), before)
    assert all(("lora_" in p.name) == p.requires_grad for p in model.parameters())


def test_merged_and_unmerged_models_agree():
    inputs, _ = batch_for(CONFIG)
    model = GPT(CONFIG)
    apply_lora(model, LoRAConfig(rank=2))
    for _, layer in lora_layers(model):
        layer.lora_B.value += 0.02
    before = model.forward(inputs)
    for _, layer in lora_layers(model):
        layer.merge()
    np.testing.assert_allclose(model.forward(inputs), before, rtol=0, atol=1e-6)
    for _, layer in lora_layers(model):
        layer.unmerge()
    np.testing.assert_allclose(model.forward(inputs), before, rtol=0, atol=1e-6)
    merge_lora(model)
    assert not list(lora_layers(model))
    np.testing.assert_allclose(model.forward(inputs), before, rtol=0, atol=1e-6)
    model.loss_and_backward(*batch_for(CONFIG))
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_merged_layer_refuses_to_train():
    layer = layers.LoRALinear(3, 2)
    layer.merge()
    layer.forward(np.ones((1, 3), np.float32))
    with pytest.raises(RuntimeError, match="unmerge it first"):
        layer.backward(np.ones((1, 2), np.float32))


def test_lora_trains_at_most_a_twentieth_of_gpt2():
    # counted from shapes: 12 blocks of qkv, projection, up, down with rank 8
    d, rank = 768, 8
    added = 12 * rank * ((d + 3 * d) + (d + d) + (d + 4 * d) + (4 * d + d))
    assert added == 12 * rank * 16 * d
    assert added < 0.05 * 124_439_808


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRAConfig(rank=0), "rank must be at least 1"),
        (lambda: LoRAConfig(alpha=0), "alpha positive"),
        (lambda: LoRAConfig(dropout=1.0), "dropout must be"),
        (lambda: LoRAConfig(target_modules=()), "target_modules is empty"),
        (lambda: layers.LoRALinear(3, 2, rank=0), "LoRALinear: rank"),
        (lambda: lora_model(target_modules=["nothing"]), "no linear map matches nothing"),
        (lambda: apply_lora(lora_model()), "LoRA layers already"),
        (lambda: train_only(shaken_model(CONFIG), ["nothing.*"]), "no parameter is named"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_trained_state_goes_back_into_a_model_of_the_same_kind():
    model, other = lora_model(), lora_model()
    state = model.trained_state_dict()
    assert all("lora_" in name for name in state)
    for _, layer in lora_layers(other):
        layer.lora_B.value[...] = 0.0
    other.load_trained_state_dict(state)
    inputs, _ = batch_for(CONFIG)
    np.testing.assert_array_equal(model.forward(inputs), other.forward(inputs))
    with pytest.raises(ValueError, match="is frozen"):
        other.load_trained_state_dict({**state, "final_norm.gamma": np.ones(8)})
    with pytest.raises(ValueError, match="no array for"):
        other.load_trained_state_dict({})

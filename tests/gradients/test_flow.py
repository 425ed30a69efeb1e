import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npgpt
from npgpt.gradients import Flow, FlowMeter, gradient_flow, record
from npgpt.gradients.flow_meter import dead_units
from npgpt.layers.block_config import POSITIONS
from npgpt.plots.flow import _by_depth, plot_flow, plot_flow_history


def make_model(dtype=np.float64, **changes):
    settings = {"n_layers": 2, "n_heads": 2, "d_model": 12, **changes}
    return npgpt.GPT(npgpt.GPTConfig(13, 8, **settings), seed=1, dtype=dtype)


def make_batch(seed=0):
    return np.random.default_rng(seed).integers(0, 13, (2, 3, 8))


def by_name(rows):
    return {row.name: row for row in rows}


def test_flow_is_what_recording_and_the_gradients_say():
    model, (ids, targets) = make_model(), make_batch()
    flow = gradient_flow(model, ids, targets)
    with record(model) as tape:
        model.loss(ids, targets)
        model.backward()
    for row in flow.activations:
        recorded = tape[row.name]
        assert row.rms == pytest.approx(np.sqrt(np.mean(recorded.value**2)), rel=1e-12)
        assert row.grad_norm == pytest.approx(np.linalg.norm(recorded.grad), rel=1e-10)
    weights = tape["blocks.1.attention.weights"].value
    entropy = -np.sum(weights * np.log(np.where(weights > 0, weights, 1)), axis=-1).mean()
    row = by_name(flow.activations)["blocks.1.attention.output"]
    assert row.attention_entropy == pytest.approx(entropy, rel=1e-10)
    feed_forward = by_name(flow.parameters)["blocks.0.feed_forward"]
    grads = [
        parameter.grad.ravel()
        for name, parameter in model.named_parameters()
        if name.startswith("blocks.0.feed_forward.")
    ]
    assert feed_forward.grad_norm == pytest.approx(np.linalg.norm(np.concatenate(grads)), rel=1e-12)


def test_every_parameter_belongs_to_one_row():
    model = make_model()
    flow = gradient_flow(model, *make_batch())
    squares = sum(row.weight_norm**2 for row in flow.parameters)
    assert squares == pytest.approx(sum(np.sum(p.value**2) for p in model.parameters()))


def test_measuring_leaves_the_model_as_it_was():
    model, (ids, targets) = make_model(dropout=0.1).train(), make_batch()
    model.loss_and_backward(ids, targets)
    before = [parameter.grad.copy() for parameter in model.parameters()]
    step = model.dropout_step
    gradient_flow(model, ids, targets)
    for parameter, grad in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)
    assert model.listener is None
    assert model.training
    assert model.dropout_step == step


@given(
    position=st.sampled_from(sorted(POSITIONS)),
    n_kv_heads=st.sampled_from([1, 2, 4]),
    window=st.sampled_from([None, 1, 3]),
    time=st.integers(1, 8),
    spread=st.floats(0.01, 30.0),
    seed=st.integers(0, 2**31),
)
def test_attention_entropy_is_that_of_the_weights(position, n_kv_heads, window, time, spread, seed):
    changes = {"position": position, "n_kv_heads": n_kv_heads, "window": window}
    model = make_model(n_heads=4, d_model=16, n_layers=1, **changes)
    model.blocks[0].attention.qkv.weight.value *= spread
    ids = np.random.default_rng(seed).integers(0, 13, (2, time))
    flow = gradient_flow(model, ids, ids)
    with record(model, "*.weights") as tape:
        model.forward(ids)
    weights = tape["blocks.0.attention.weights"].value
    entropy = -np.sum(weights * np.log(np.where(weights > 0, weights, 1.0)), axis=-1).mean()
    row = by_name(flow.activations)["blocks.0.attention.output"]
    assert row.attention_entropy == pytest.approx(entropy, abs=1e-9)


def test_alike_keys_give_the_largest_entropy():
    model = make_model(n_layers=1)
    model.blocks[0].attention.qkv.weight.value[12:24] = 0.0  # the keys
    ids = np.arange(8)[None]
    row = by_name(gradient_flow(model, ids, ids).activations)["blocks.0.attention.output"]
    assert row.attention_entropy == pytest.approx(np.log(np.arange(1, 9)).mean(), abs=1e-12)


def test_a_unit_that_never_fires_is_dead():
    activation = np.random.default_rng(0).standard_normal((4, 6, 10))
    assert dead_units(activation) == 0.0
    activation[..., :3] = 0.0
    assert dead_units(activation) == pytest.approx(0.3)
    activation[2, 1, 0] = -1.0  # one token wakes it
    assert dead_units(activation) == pytest.approx(0.2)


def test_update_ratio_and_cosine_compare_two_steps():
    model, batch = make_model(), make_batch()
    meter = FlowMeter(model)
    model.loss_and_backward(*batch)
    meter.remember_gradients()
    for parameter in model.parameters():
        parameter.grad[...] *= -3.0
    meter.read_gradients()
    meter.remember_weights()
    for parameter in model.parameters():
        parameter.value *= 1.25
    meter.read_updates()
    for row in meter.flow().parameters:
        assert row.grad_cosine == pytest.approx(-1.0)
        assert row.update_ratio == pytest.approx(0.25, rel=1e-6)


def test_a_gradient_of_zeros_has_no_cosine():
    model = make_model()
    meter = FlowMeter(model)
    model.zero_grad()
    meter.remember_gradients()
    meter.read_gradients()
    assert all(row.grad_cosine is None for row in meter.flow().parameters)


def test_recomputing_blocks_show_the_same_flow():
    ids, targets = make_batch()
    usual = make_model(np.float32)
    recomputing = npgpt.GPT(usual.config, seed=1, recompute=True)
    assert gradient_flow(recomputing, ids, targets) == gradient_flow(usual, ids, targets)


def test_flow_survives_json_and_prints_every_row():
    flow = gradient_flow(make_model(), *make_batch())
    assert Flow.from_dict(json.loads(json.dumps(flow.to_dict()))) == flow
    for row in [*flow.activations, *flow.parameters]:
        assert f"{row.name} " in str(flow)
        assert f">{row.name}<" in flow._repr_html_()


def test_plots_are_pictures(tmp_path):
    flow = gradient_flow(make_model(), *make_batch())
    plot_flow(flow, tmp_path / "flow.png")
    later = Flow(flow.activations, flow.parameters, step=2)
    earlier = Flow(flow.activations, flow.parameters, step=1)
    plot_flow_history([earlier, later], tmp_path / "history.png", "a run")
    for name in ("flow.png", "history.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["lstm", "conv"])
def test_flow_and_its_pictures_go_layer_by_layer_without_blocks_too(kind, tmp_path):
    family = npgpt.models.MODELS[kind]
    config = family.Config(vocab_size=13, context_length=8, n_layers=2, d_model=4)
    model, (ids, targets) = family(config, dtype=np.float64), make_batch()
    flow = gradient_flow(model, ids, targets)
    with record(model) as tape:
        model.loss_and_backward(ids, targets)
    states = ["network.hidden", "network.cell"] if kind == "lstm" else ["residual"]
    expected = {"embeddings", *(f"{state}_l{layer}" for state in states for layer in (0, 1))}
    assert {row.name for row in flow.activations} == expected
    for row in flow.activations:
        assert row.rms == pytest.approx(np.sqrt(np.mean(tape[row.name].value ** 2)), rel=1e-12)
        assert row.grad_norm == pytest.approx(np.linalg.norm(tape[row.name].grad), rel=1e-10)
    names = {"lstm": "network_l{}", "conv": "convolutions.{}.conv"}
    assert [row.name for row in flow.parameters[1:]] == [names[kind].format(n) for n in (0, 1)]
    parts = {"lstm": ("hidden", "network"), "conv": ("residual", "conv")}
    for rows, part in zip(("activations", "parameters"), parts[kind], strict=True):
        assert [depth for depth, _ in _by_depth(flow, rows, part)] == [0, 1]
    plot_flow(flow, tmp_path / "flow.png")
    plot_flow_history([dataclasses.replace(flow, step=1)], tmp_path / "history.png", "run")


def test_a_meter_in_training_does_not_make_recurrent_layers_go_step_by_step():
    family = npgpt.models.GRULM
    model = family(family.Config(vocab_size=13, context_length=8, n_layers=2, d_model=4))
    ids, targets = make_batch()
    plain = model.loss_and_backward(ids, targets), model.parameters()[0].grad.copy()
    model.zero_grad()
    meter = FlowMeter(model)
    with meter.activations():
        assert not model.network.is_listened_to("hidden_l0")
        heard = model.loss_and_backward(ids, targets), model.parameters()[0].grad
    for one, other in zip(plain, heard, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [row.name for row in meter.flow().activations] == ["embeddings", "network.output"]

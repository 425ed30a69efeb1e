"""The laboratory measures any model with a loss: two stacks, a recurrent model, a classifier."""

import numpy as np
import pytest

import npgpt
from npgpt.gradients import (
    Flow,
    Hessian,
    gradient_flow,
    gradient_moments,
    gradient_noise_scale,
    loss_along,
    per_example_gradient_norms,
    record,
    tap_shapes,
)
from npgpt.gradients.curvature import flat_weights, set_flat_weights
from npgpt.models import GPTForClassification
from npgpt.plots import flow as plots
from tests.models.test_new_families import FAMILIES, Counting, Reversals, recurrent, translator
from tests.models.tiny import CONFIGS, shaken_model


def classifier():
    model = GPTForClassification(shaken_model(CONFIGS["tied"]), num_classes=3, lm_coef=0.5)
    ids = np.random.default_rng(0).integers(0, 11, (4, 6))
    return model, (ids, np.array([6, 3, 1, 4]), np.array([0, 2, 1, 1]))


def of_family(name):
    make, data = FAMILIES[name]
    return make(dtype=np.float64), data.batch([0, 1, 2, 3])


MODELS = {name: lambda name=name: of_family(name) for name in FAMILIES} | {"classifier": classifier}
models = pytest.mark.parametrize("name", MODELS)


def single_gradients(model, batch):
    """Compute each example's gradient by a backward pass of its own, (examples, parameters)."""
    rows = []
    for b in range(len(batch[0])):
        model.zero_grad()
        model.loss_and_backward(*(array[b : b + 1] for array in batch))
        rows.append(np.concatenate([parameter.grad.ravel() for parameter in model.parameters()]))
    return np.stack(rows)


@models
def test_norms_of_single_gradients_are_those_of_single_passes(name):
    model, batch = MODELS[name]()
    norms = per_example_gradient_norms(model, *batch)
    rows = single_gradients(model, batch)
    np.testing.assert_allclose(norms.total, np.linalg.norm(rows, axis=1), rtol=1e-9)
    assert list(norms.by_parameter) == list(model.state_dict())


def test_a_padded_example_without_targets_has_a_gradient_of_zero():
    model, batch = of_family("translator")
    batch[-1][1] = -100
    norms = per_example_gradient_norms(model, *batch)
    assert norms.total[1] == 0.0 < norms.total[0]


@models
def test_noise_and_moments_are_those_of_single_gradients(name):
    model, batch = MODELS[name]()
    rows = single_gradients(model, batch)
    noise = gradient_noise_scale(model, *batch)
    assert noise.noise == pytest.approx(np.var(rows, axis=0, ddof=1).sum(), rel=1e-9)
    examples = [tuple(array[b : b + 1] for array in batch) for b in range(len(rows))]
    moments = gradient_moments(model, examples)
    mean = np.concatenate([array.ravel() for array in moments.mean.values()])
    np.testing.assert_allclose(mean, rows.mean(axis=0), atol=1e-12)


@models
def test_a_hessian_product_is_the_change_of_the_gradient(name):
    model, batch = MODELS[name]()
    direction = np.random.default_rng(0).standard_normal(model.num_parameters())
    theta, h, grads = flat_weights(model), 1e-5, []
    for sign in (1, -1):
        set_flat_weights(model, theta + sign * h * direction)
        model.zero_grad()
        model.loss(*batch)
        model.backward()
        grads.append(np.concatenate([parameter.grad.ravel() for parameter in model.parameters()]))
    set_flat_weights(model, theta)
    product = Hessian(model, *batch) @ direction
    np.testing.assert_allclose(product, (grads[0] - grads[1]) / (2 * h), atol=1e-6)


@models
def test_the_loss_on_a_line_is_the_moved_models(name):
    model, batch = MODELS[name]()
    direction = np.random.default_rng(0).standard_normal(model.num_parameters())
    steps = np.array([0.0, 0.1])
    losses = loss_along(model, *batch, [direction], steps)
    by_name = loss_along(model, *batch, directions=[direction], steps=steps)
    np.testing.assert_array_equal(losses, by_name)
    assert losses[0] == model.evaluation_loss(*batch) != losses[1]


# --- flow -----------------------------------------------------------------------------------------


def rows_of(flow):
    return {row.name: row for row in [*flow.activations, *flow.parameters]}


@pytest.mark.parametrize("position", ["learned", "rope", "t5", "alibi"])
def test_flow_of_two_stacks_is_what_recording_says_padding_left_out(position):
    model = translator(dtype=np.float64, position=position, window=3, n_kv_heads=1)
    batch = Reversals().batch([0, 1, 2])
    assert batch[1].min() < batch[0].shape[1]  # something is padded
    flow = gradient_flow(model, *batch)
    with record(model) as tape:
        model.loss(*batch)
        model.backward()
    entropies = 0
    for row in flow.activations:
        recorded = tape[row.name]
        assert row.rms == pytest.approx(np.sqrt(np.mean(recorded.value**2)), rel=1e-12)
        assert row.grad_norm == pytest.approx(np.linalg.norm(recorded.grad), rel=1e-9)
        if row.attention_entropy is not None:
            weights = tape[row.name.replace("output", "weights")].value
            entropy = -np.sum(weights * np.log(np.where(weights > 0, weights, 1)), axis=-1).mean()
            assert row.attention_entropy == pytest.approx(entropy, rel=1e-9)
            entropies += 1
    assert entropies == 3 * model.config.n_layers  # the decoder's blocks have two attentions


def test_parameters_of_two_stacks_are_grouped_by_block_and_branch():
    model = translator(dtype=np.float64)
    flow = gradient_flow(model, *Reversals().batch([0, 1]))
    names = [row.name for row in flow.parameters]
    for name in ("encoder.blocks.0.attention", "encoder.blocks.1.feed_forward", "head",
                 "decoder.blocks.1.cross_attention", "encoder.final_norm"):  # fmt: skip
        assert names.count(name) == 1
    squares = sum(row.weight_norm**2 for row in flow.parameters)
    assert squares == pytest.approx(sum(np.sum(p.value**2) for p in model.parameters()))


def test_the_depth_of_the_decoder_begins_where_the_encoder_ends(tmp_path):
    model = translator()
    flow = gradient_flow(model, *Reversals().batch([0, 1]))
    rows = plots._by_depth(flow, "activations", "residual")
    assert [depth for depth, _ in rows] == [0, 1, 2, 3]
    assert [row.name for _, row in rows][1:3] == [
        "encoder.blocks.1.residual",
        "decoder.blocks.0.residual",
    ]
    means = plots._means(flow, "activations", ("attention.output",), "attention_entropy")
    assert list(means) == [0, 1, 2, 3]
    plots.plot_flow(flow, tmp_path / "flow.png")
    steps = [Flow(flow.activations, flow.parameters, step) for step in (1, 2)]
    plots.plot_flow_history(steps, tmp_path / "history.png", "two stacks")
    for name in ("flow.png", "history.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_flow_of_a_model_without_blocks_has_its_parameters():
    flow = gradient_flow(recurrent(), *Counting().batch([0, 1]))
    assert [row.name for row in flow.parameters] == ["embedding", "linear"]
    assert flow.activations == []


# --- shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["translator", "classifier"])
def test_shapes_of_a_batch_name_the_axis_of_examples(name):
    model, batch = MODELS[name]()
    shapes = tap_shapes(model, *batch)
    with record(model) as tape:
        model.loss(*batch)
    assert list(shapes) == list(tape)
    for tap, recorded in tape.items():
        assert shapes[tap] == ("batch", *recorded.value.shape[1:])


def test_a_classifiers_flow_tells_its_layers_apart():
    model, batch = classifier()
    names = rows_of(gradient_flow(model, *batch))
    assert {"body.token_embedding", "body.blocks.1.attention", "body.final_norm"} <= names.keys()
    assert npgpt.models.summary.Summary.of(model).rows[2].name.startswith("body.blocks.0-1.")

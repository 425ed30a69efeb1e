"""Recording and editing what happens inside a model."""

import dataclasses

import numpy as np
import pytest

import npgpt
from npgpt.gradients import record
from tests.models.tiny import CONFIGS, batch_for, shaken_model


@pytest.fixture
def model():
    return shaken_model(CONFIGS["tied"])


def step(model):
    """One forward and backward pass; the loss and the gradients."""
    model.zero_grad()
    loss = model.loss(*batch_for(model.config))
    model.backward()
    return loss, [parameter.grad.copy() for parameter in model.parameters()]


def test_every_name_that_is_declared_passes_both_ways_and_no_other(model):
    with record(model) as tape:
        step(model)
    assert set(tape) == set(model.tap_names())
    assert all(recorded.value.shape == recorded.grad.shape for recorded in tape.values())


def test_a_pattern_chooses_what_is_recorded(model):
    with record(model, "blocks.*.attention.weights") as tape:
        step(model)
    assert list(tape) == ["blocks.0.attention.weights", "blocks.1.attention.weights"]


def test_recording_changes_results_by_rounding_only_and_ends_with_the_block(model, backend):
    before = step(model)
    with record(model):
        during = step(model)
    after = step(model)
    assert during[0] == pytest.approx(before[0], rel=1e-12)
    for a, b in zip(during[1], before[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert after[0] == before[0]
    assert all(layer.listener is None for layer in model.layers())


def test_what_was_recorded_stays_and_cannot_be_written(model):
    with record(model) as tape:
        step(model)
    kept = tape["blocks.0.residual"].value.copy()
    step(model)
    np.testing.assert_array_equal(tape["blocks.0.residual"].value, kept)
    with pytest.raises(ValueError, match="read-only"):
        tape["blocks.0.residual"].value[...] = 0


def test_a_gradient_of_an_earlier_pass_does_not_stand_beside_a_new_activation(model):
    with record(model) as tape:
        step(model)
        model.loss(*batch_for(model.config))
    assert tape["head.logits"].grad is None


def test_more_memory_than_allowed_is_refused(model):
    with pytest.raises(ValueError, match="record fewer names"), record(model, max_bytes=5000):
        step(model)
    assert model.listener is None


def test_an_unknown_name_is_refused_with_those_that_are_near(model):
    with pytest.raises(ValueError, match=r"'blocks\.7\.attention\.q'.*blocks\.0\.attention\.q"):
        record(model, "blocks.7.attention.q")
    with record(model, "head.logits") as tape:
        step(model)
    with pytest.raises(KeyError, match=r"nothing was recorded under 'x'; there is head\.logits"):
        tape["x"]


# --- edits -----------------------------------------------------------------------------------


def test_an_ablated_branch_is_the_model_without_it(model):
    inputs, _ = batch_for(model.config)
    with model.edit("blocks.1.feed_forward.output", forward=np.zeros_like):
        ablated = model.forward(inputs)
    for parameter in model.blocks[1].feed_forward.down.parameters():
        parameter.value[...] = 0
    np.testing.assert_array_equal(ablated, model.forward(inputs))


def test_an_activation_is_patched_from_another_run(model):
    inputs, _ = batch_for(model.config, seed=0)
    others, _ = batch_for(model.config, seed=1)
    with record(model, "blocks.1.residual") as tape:
        expected = model.forward(others)
    with model.edit("blocks.1.residual", forward=lambda x: tape["blocks.1.residual"].value):
        patched = model.forward(inputs)
    np.testing.assert_array_equal(patched, expected)


def test_a_gradient_that_is_stopped_reaches_nothing_below(model):
    with model.edit("blocks.0.residual", backward=np.zeros_like):
        step(model)
        assert all(not p.grad.any() for p in model.blocks[0].parameters())
        assert all(p.grad.any() for p in model.blocks[1].attention.projection.parameters())


def test_a_gradient_that_is_reversed_is_reversed_below(model):
    _, plain = step(model)
    with model.edit("blocks.0.residual", backward=np.negative):
        _, reversed_ = step(model)
    names = [name for name, _ in model.named_parameters()]
    below = [name.startswith("blocks.0.attention.qkv") for name in names]
    assert any(below)
    for is_below, a, b in zip(below, plain, reversed_, strict=True):
        if is_below:
            np.testing.assert_allclose(a, -b, atol=1e-14)


def test_edits_follow_one_another_and_a_recording_sees_what_came_before_it(model):
    name = "blocks.0.attention.output"
    with (
        model.edit(name, forward=np.ones_like),
        model.edit(name, forward=lambda x: 3.0 * x),
        record(model, name) as tape,
    ):
        step(model)
    assert np.all(tape[name].value == 3.0)


def test_an_edit_is_undone_after_an_exception(model):
    before = step(model)

    def fail(x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), model.edit("embeddings", forward=fail):
        step(model)
    after = step(model)
    assert after[0] == before[0]
    assert model.listener is None


def test_an_edit_that_ends_before_another_leaves_it_in_place(model):
    first = model.edit("embeddings", forward=np.zeros_like)
    second = model.edit("embeddings", forward=np.ones_like)
    first.__enter__()
    second.__enter__()
    first.__exit__()
    with record(model, "embeddings") as tape:
        step(model)
    second.__exit__()
    assert np.all(tape["embeddings"].value == 1.0)
    assert model.listener is None


def test_an_edit_that_changes_the_shape_is_refused(model):
    with (
        pytest.raises(ValueError, match=r"forward of 'embeddings' must return .* got \(3, 8\)"),
        model.edit("embeddings", forward=lambda x: x[..., 0]),
    ):
        step(model)


def test_a_recomputing_model_is_recorded_and_edited_alike():
    config = npgpt.GPTConfig(13, 8, n_layers=2, n_heads=2, d_model=8)
    results = []
    for recompute in (False, True):
        model = npgpt.GPT(config, dtype=np.float64, recompute=recompute)
        with model.edit("blocks.*.attention.weights", forward=lambda x: 0.5 * x):
            results.append(step(model))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


# --- what a function is given is its own ----------------------------------------------------------


def in_place(array):
    """Ablate the first half of the last axis, as people write it."""
    array[..., : array.shape[-1] // 2] = 0.0
    return array


def on_a_copy(array):
    return in_place(array.copy())


class Writing:
    """A listener of the user's, whose functions write to what they are given."""

    def __init__(self, change):
        self.change = change

    def wants(self, name):
        return True

    def on_activation(self, name, array):
        return self.change(array)

    def on_gradient(self, name, array):
        return self.change(array)


@pytest.mark.parametrize("way", ["forward", "backward"])
@pytest.mark.parametrize("config", ["tied", "nothing normed"])
def test_a_function_that_changes_its_argument_edits_as_one_that_makes_an_array(
    config, way, backend
):
    """In place and on a copy: the same loss and the same gradients, at every tap."""
    choices = {"norm": "none", "dropout": 0.3} if config == "nothing normed" else {}
    config = dataclasses.replace(CONFIGS["tied"], **choices)
    for name in shaken_model(config).tap_names():
        results = []
        for change in (in_place, on_a_copy):
            model = shaken_model(config)
            with model.edit(name, **{way: change}):
                results.append(step(model))
        (loss, grads), (expected_loss, expected) = results
        assert loss == expected_loss, name
        for grad, other in zip(grads, expected, strict=True):
            np.testing.assert_array_equal(grad, other, err_msg=name)


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_what_an_edit_returned_may_be_written_to_afterwards(model, way):
    name, kept = "blocks.0.attention.context", []

    def keep(array):
        kept.append(array)
        return array

    expected = step(model)
    model.zero_grad()
    with model.edit("*", **{way: keep}), model.edit(name, forward=np.positive):
        loss = model.loss(*batch_for(model.config))
        for array in kept:
            array[...] = 9.0
        model.backward()
    assert loss == pytest.approx(expected[0], rel=1e-12)
    for parameter, grad in zip(model.parameters(), expected[1], strict=True):
        np.testing.assert_allclose(parameter.grad, grad, atol=1e-12)


def test_an_edit_does_not_reach_what_was_recorded_before_it(model):
    with record(model) as plain:
        step(model)
    with record(model) as tape, model.edit("embeddings", forward=in_place):
        step(model)
    np.testing.assert_array_equal(tape["embeddings"].value, plain["embeddings"].value)


def test_an_edit_without_a_result_is_told_to_return_the_array(model):
    def forgets(array):
        array[...] = 0.0

    with (
        pytest.raises(ValueError, match="forward of 'embeddings' returned None; it must return"),
        model.edit("embeddings", forward=forgets),
    ):
        step(model)


@pytest.mark.parametrize("wrong", [1j * np.ones(1), np.array(["a"]), np.array([None])])
def test_an_edit_that_changes_the_kind_of_number_is_refused(model, wrong):
    with (
        pytest.raises(ValueError, match="'embeddings' must return an array of float64, got"),
        model.edit("embeddings", forward=lambda x: np.broadcast_to(wrong, x.shape)),
    ):
        step(model)


def test_a_listener_of_the_users_cannot_write_to_the_models_arrays(model):
    expected = step(model)
    model.listen(Writing(in_place))
    with pytest.raises(ValueError, match="read-only"):
        step(model)
    model.listen(Writing(lambda array: array))
    loss, grads = step(model)
    model.listen(None)
    assert loss == pytest.approx(expected[0], rel=1e-12)
    for grad, other in zip(grads, expected[1], strict=True):
        np.testing.assert_allclose(grad, other, atol=1e-12)


def test_tokens_that_are_streamed_may_be_written_to(model):
    tokens = []
    for token in model.stream(np.array([[1, 2]]), 6, temperature=0):
        tokens.append(int(token[0]))
        token[...] = 0
    expected = model.generate(np.array([[1, 2]]), 6, temperature=0)
    assert tokens == expected[0, 2:].tolist()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"forward": 0}, "edit: forward must be a function .* got 0; forward=np.zeros_like puts"),
        ({"backward": 0}, "edit: backward must be a function .* got 0"),
        ({"backward": np.zeros(3)}, "edit: backward must be a function"),
        ({}, "edit: give forward= or backward=, a function that changes 'embeddings'"),
    ],
)
def test_an_edit_by_what_is_no_function_is_refused(model, wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        model.edit("embeddings", **wrong)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("blocks.0.attention.wieghts", "blocks.0.attention.weights"),
        ("block.1.residual", "blocks.1.residual"),
        ("embedings", "embeddings"),
        ("blocks.0.feedforward.hidden", "blocks.0.feed_forward.hidden"),
        ("head.logit", "head.logits"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(model, wrong, right):
    with pytest.raises(ValueError, match=f"nothing is named '{wrong}'; did you mean '{right}'"):
        record(model, wrong)
    with pytest.raises(ValueError, match=f"nothing is named '{wrong}'; did you mean '{right}'"):
        model.edit(wrong, forward=np.zeros_like)
    with record(model) as tape:
        step(model)
    with pytest.raises(KeyError, match=f"did you mean '{right}'"):
        tape[wrong]

"""The names of a model, with their shapes."""

import numpy as np
import pytest

import npgpt
from npgpt.gradients import record, tap_shapes
from tests.models.tiny import CONFIGS, shaken_model


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("batch", "time"), [(1, 1), (2, 5), (5, 8)])
def test_every_name_is_listed_with_the_shape_that_it_has(config, batch, time):
    model = shaken_model(config)
    shapes = tap_shapes(model)
    assert set(shapes) == set(model.tap_names())
    with record(model) as tape:
        model.forward(np.zeros((batch, time), int))
    sizes = {"batch": batch, "time": time}
    for name, recorded in tape.items():
        assert tuple(sizes.get(axis, axis) for axis in shapes[name]) == recorded.value.shape
    assert list(shapes) == list(tape)  # in the order of the forward pass


def test_a_context_of_one_token_has_no_axis_that_grows():
    model = npgpt.GPT(npgpt.GPTConfig(5, 1, n_layers=1, n_heads=1, d_model=4))
    assert tap_shapes(model)["embeddings"] == ("batch", 1, 4)


def test_asking_leaves_the_model_as_it_was():
    model = shaken_model(CONFIGS["tied"]).train()
    tap_shapes(model)
    assert model.training
    assert model.listener is None

"""Attribution of a logit to tokens, and to parts of the model."""

import numpy as np
import pytest

from npgpt.gradients.attribution import (
    direct_logit_attribution,
    gradient_times_input,
    integrated_gradients,
)
from npgpt.models import MODELS
from tests.models.tiny import CONFIGS, shaken_model

IDS = np.array([3, 1, 4, 1, 0, 2])


@pytest.fixture(params=CONFIGS)
def model(request):
    return shaken_model(CONFIGS[request.param])


def test_integrated_gradients_sum_to_the_difference_of_the_logits(model):
    for position in (-1, 2):
        attribution = integrated_gradients(model, IDS, position, token=1, steps=64)
        assert abs(attribution.gap) < 1e-3 * max(1.0, abs(attribution.logit))
        assert attribution.logit == pytest.approx(model.forward(IDS[None])[0, position, 1])


def test_more_steps_bring_the_sum_closer(model):
    gaps = [abs(integrated_gradients(model, IDS, token=1, steps=steps).gap) for steps in (2, 32)]
    assert gaps[1] < gaps[0]


def test_from_itself_as_the_baseline_nothing_is_attributed(model):
    embeddings = model.token_embedding.weight.value[IDS] + model.position_embedding.weight.value[: len(IDS)]  # fmt: skip
    attribution = integrated_gradients(model, IDS, baseline=embeddings)
    np.testing.assert_array_equal(attribution.values, 0.0)


def test_tokens_after_the_position_have_no_part(model):
    for attribute in (gradient_times_input, integrated_gradients):
        values = attribute(model, IDS, position=2).values
        assert not values[3:].any()
        assert values[:3].any()


def test_gradient_times_input_is_the_derivative_along_the_embeddings(model):
    h, token = 1e-6, 1
    attribution = gradient_times_input(model, IDS, token=token)
    for i in (0, len(IDS) - 1):
        logits = []
        for sign in (1, -1):

            def grow(x, i=i, sign=sign):
                grown = x.copy()
                grown[:, i] *= 1 + sign * h
                return grown

            with model.edit("embeddings", forward=grow):
                logits.append(model.forward(IDS[None])[0, -1, token])
        assert attribution.values[i] == pytest.approx((logits[0] - logits[1]) / (2 * h), abs=1e-6)


def test_the_parts_of_a_logit_sum_to_it(model):
    parts = direct_logit_attribution(model, IDS, position=3, token=2)
    assert parts.values.sum() == pytest.approx(parts.logit, abs=1e-12)
    assert parts.logit == pytest.approx(model.forward(IDS[None])[0, 3, 2], abs=1e-12)
    blocks, heads = model.config.n_layers, model.config.n_heads
    biases = (blocks + 1) if model.config.bias else 0
    assert len(parts.names) == 1 + blocks * (heads + 1) + biases
    assert str(parts).splitlines()[-1].startswith("logit")


def test_attribution_leaves_mode_and_gradients_alone():
    model = shaken_model(CONFIGS["tied"]).train()
    model.loss(IDS[None, :-1], IDS[None, 1:])
    model.backward()
    before = [parameter.grad.copy() for parameter in model.parameters()]
    integrated_gradients(model, IDS)
    direct_logit_attribution(model, IDS)
    assert model.training
    assert model.listener is None
    for parameter, grad in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"token_ids": IDS[None]}, r"shape \(time,\), got \(1, 6\)"),
        ({"token_ids": IDS, "position": 6}, "position 6 is outside 0 to 5"),
        ({"token_ids": IDS, "token": 99}, "token 99 is outside 0 to"),
        ({"token_ids": IDS, "steps": 0}, "steps must be at least 1"),
        ({"token_ids": IDS, "baseline": np.zeros(3)}, "baseline must have shape"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(shaken_model(CONFIGS["tied"]), **arguments)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "conv"])
def test_models_without_attention_are_attributed_too(kind):
    family = MODELS[kind]
    model = family(family.Config(7, 8, n_layers=2, d_model=6), dtype=np.float64)
    for parameter in model.parameters():
        parameter.value *= 2.0
    attribution = integrated_gradients(model, IDS, position=3, token=1)
    assert abs(attribution.gap) < 1e-6
    assert not gradient_times_input(model, IDS, position=3).values[4:].any()
    if kind == "conv":
        parts = direct_logit_attribution(model, IDS, position=3, token=1)
        assert parts.names == ["embeddings", "convolutions.0", "convolutions.1"]
        assert parts.values.sum() == pytest.approx(parts.logit) == attribution.logit
    else:
        with pytest.raises(ValueError, match="LM has none: each of its layers makes its states"):
            direct_logit_attribution(model, IDS)

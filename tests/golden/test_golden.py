"""npgpt against numbers that PyTorch made (tests/golden/make.py)."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from npgpt.models import GPT
from npgpt.ops import reference
from npgpt.optim import SGD, AdamW, Optimizer
from tests.golden import bert, marian
from tests.golden.optimizers import OPTIMIZERS, WEIGHT_DECAY
from tests.golden.recurrent import GOLDEN, recurrent, results_of
from tests.models.tiny import CONFIGS, batch_for
from tests.mutations import mutated

FOLDER = Path(__file__).parent
STEPS, LR, BETAS = 50, 1e-3, (0.9, 0.99)


def golden(name):
    file = FOLDER / f"{name.replace(', ', '_').replace(' ', '_')}.safetensors"
    arrays = load_file(file)
    model = GPT(CONFIGS[name], dtype=np.float64)
    model.load_state_dict(
        {key.removeprefix("weight."): a for key, a in arrays.items() if key.startswith("weight.")}
    )
    return arrays, model


def close(ours, golden_array, tolerance):
    scale = max(1.0, np.abs(golden_array).max())
    np.testing.assert_allclose(ours, golden_array, rtol=0, atol=tolerance * scale)


def train(name):
    """Take 50 AdamW steps; compare the weights with PyTorch's."""
    arrays, model = golden(name)
    optimizer = AdamW(model.parameters(), LR, BETAS, weight_decay=WEIGHT_DECAY)
    fifty_steps(model, optimizer, arrays, "trained")


def train_with(name):
    """Take 50 steps of one of the other optimisers; compare the weights with PyTorch's."""
    kind, _, settings = OPTIMIZERS[name]
    _, model = golden("tied")
    optimizer = kind(model.parameters(), **settings)
    fifty_steps(model, optimizer, load_file(FOLDER / "optimizers.safetensors"), name)


def fifty_steps(model, optimizer: Optimizer, arrays, prefix):
    for step in range(STEPS):
        optimizer.zero_grad()
        model.loss(*batch_for(model.config, seed=step))
        model.backward()
        optimizer.step()
    for key, parameter in model.named_parameters():
        close(parameter.value, arrays[f"{prefix}.{key}"], 1e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_loss_and_every_gradient(name, backend):
    arrays, model = golden(name)
    close(model.forward(arrays["inputs"]), arrays["logits"], 1e-10)
    close(model.loss(arrays["inputs"], arrays["targets"]), arrays["loss"], 1e-10)
    model.backward()
    for key, parameter in model.named_parameters():
        close(parameter.grad, arrays[f"grad.{key}"], 1e-10)


@pytest.mark.parametrize("name", CONFIGS)
def test_fifty_steps_of_adamw(name, backend):
    train(name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_of_the_others(name, backend):
    train_with(name)


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (reference.adamw_update, "1.0 - lr * weight_decay", "1.0"),
        (reference.adamw_update, "* grad, m, v, step", "* grad, m, v, 50"),
        (AdamW.update, "self.weight_decay if decays else 0.0", "self.weight_decay"),
    ],
    ids=["no decay", "no bias correction", "biases decay too"],
)  # fmt: skip
def test_an_optimiser_without_one_of_its_parts_is_noticed(function, old, new):
    with mutated(function, old, new), pytest.raises(AssertionError):
        train("tied")


@pytest.mark.parametrize(
    ("name", "function", "old", "new"),
    [
        ("sgd", reference.sgd_update, "scale * grad + weight_decay * value", "scale * grad"),
        ("momentum", reference.momentum_update, "velocity *= momentum", "pass"),
        ("nesterov", reference.momentum_update, "g + momentum * velocity if", "g if"),
        ("nesterov", SGD.update, "self.nesterov", "False"),
    ],
    ids=["no penalty", "all is kept", "gradient alone", "not Nesterov's"],
)
def test_gradient_descent_without_one_of_its_parts_is_noticed(name, function, old, new):
    with mutated(function, old, new), pytest.raises(AssertionError):
        train_with(name)


@pytest.mark.parametrize("name", GOLDEN)
def test_recurrent_outputs_states_and_every_gradient(name, backend):
    arrays = load_file(FOLDER / "recurrent.safetensors")
    arrays = {
        key.removeprefix(f"{name}/"): a for key, a in arrays.items() if key.startswith(f"{name}/")
    }
    layer, *example = recurrent(name)
    layer.load_state_dict(
        {key.removeprefix("weight."): a for key, a in arrays.items() if key.startswith("weight.")}
    )
    ours = results_of(layer, *example)
    assert ours.keys() == {key for key in arrays if not key.startswith("weight.")}
    for key, array in ours.items():
        close(array, arrays[key], 1e-10)


@pytest.mark.parametrize("kind", bert.KINDS)
def test_bert_on_padded_texts_and_every_gradient(kind, backend):
    arrays = {
        key.removeprefix(f"{kind}/"): array
        for key, array in load_file(FOLDER / "bert.safetensors").items()
        if key.startswith(f"{kind}/")
    }
    model = bert.bert(kind)
    weights = bert.by_their_names(kind, model.state_dict())
    ours = {f"weight.{key}": array for key, array in weights.items()}
    ours |= bert.results_of(kind, model)
    assert ours.keys() == arrays.keys()
    for key, array in ours.items():
        close(array, arrays[key], 1e-10)


def test_marian_on_padded_sources_every_gradient_and_translations(backend):
    arrays = load_file(FOLDER / "marian.safetensors")
    model = marian.marian()
    weights = marian.by_their_names(model.state_dict())
    ours = {f"weight.{key}": array for key, array in weights.items()} | marian.results_of(model)
    assert ours.keys() == arrays.keys()
    for key, array in ours.items():
        close(array, arrays[key], 1e-10)

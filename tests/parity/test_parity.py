"""npgpt against PyTorch's automatic gradients, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

from npgpt import layers, ops  # noqa: E402
from npgpt.layers.heads import head_loss, head_loss_and_backward  # noqa: E402
from npgpt.optim import AdamW, CosineDecay, LinearDecay, clip_grad_norm  # noqa: E402
from tests.golden.optimizers import OPTIMIZERS  # noqa: E402
from tests.models.tiny import CONFIGS, batch_for, shaken_model  # noqa: E402
from tests.parity.torch_gpt import twin_name, twin_of, twin_optimizer  # noqa: E402
from tests.strategies import normal  # noqa: E402

F = torch.nn.functional


def close(ours, theirs, tolerance=1e-10):
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1, abs(theirs).max()))


def leaf(array):
    return torch.tensor(array, requires_grad=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_loss_and_every_gradient(name, backend):
    config = CONFIGS[name]
    model = shaken_model(config)
    twin = twin_of(model)
    inputs, targets = batch_for(config)
    close(model.forward(inputs), twin(torch.from_numpy(inputs)))
    loss = twin.loss(torch.from_numpy(inputs), torch.from_numpy(targets))
    loss.backward()
    close(model.loss(inputs, targets), loss)
    model.backward()
    theirs = dict(twin.named_parameters())
    for parameter_name, parameter in model.named_parameters():
        close(parameter.grad, theirs[twin_name(parameter_name)].grad)


@pytest.mark.parametrize("name", CONFIGS)
def test_fifty_steps_of_adamw_with_clipping(name, backend):
    config = CONFIGS[name]
    model = shaken_model(config)
    twin = twin_of(model)
    ours = AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    theirs = twin_optimizer(twin, lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(50):
        inputs, targets = batch_for(config, seed=step)
        model.zero_grad()
        model.loss(inputs, targets)
        model.backward()
        norm = clip_grad_norm(model.parameters(), 0.5)
        ours.step()
        theirs.zero_grad()
        twin.loss(torch.from_numpy(inputs), torch.from_numpy(targets)).backward()
        twin_norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        theirs.step()
        # PyTorch divides by norm + 1e-6 when it clips, so the two differ by that much
        close(norm, twin_norm, 1e-4)
    values = dict(twin.named_parameters())
    for parameter_name, parameter in model.named_parameters():
        close(parameter.value, values[twin_name(parameter_name)], 1e-4)


@pytest.mark.parametrize("chosen", ["adamw", *OPTIMIZERS])
@pytest.mark.parametrize("name", CONFIGS)
def test_fifty_steps_without_clipping(name, chosen, backend):
    config = CONFIGS[name]
    model = shaken_model(config)
    twin = twin_of(model)
    if chosen == "adamw":
        settings = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
        optimizer = AdamW(model.parameters(), **settings)
        twin_steps = twin_optimizer(twin, **settings)
    else:
        ours, theirs, settings = OPTIMIZERS[chosen]
        optimizer = ours(model.parameters(), **settings)
        twin_steps = getattr(torch.optim, theirs)(twin.parameters(), **settings)
    for step in range(50):
        inputs, targets = batch_for(config, seed=step)
        optimizer.zero_grad()
        model.loss(inputs, targets)
        model.backward()
        optimizer.step()
        twin_steps.zero_grad()
        twin.loss(torch.from_numpy(inputs), torch.from_numpy(targets)).backward()
        twin_steps.step()
    values = dict(twin.named_parameters())
    for parameter_name, parameter in model.named_parameters():
        close(parameter.value, values[twin_name(parameter_name)], 1e-9)


def test_schedules():
    steps, floor = 20, 0.1
    for ours, theirs in (
        (
            LinearDecay(1.0, floor, steps),
            lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, floor, steps),
        ),
        (
            CosineDecay(1.0, floor, steps),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps, floor),
        ),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = theirs(optimizer)
        for step in range(steps + 1):
            assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
            optimizer.step()
            scheduler.step()


def test_layer_norm(backend):
    x, dy = normal(0, (2, 3, 5, 7), np.float64)
    layer = layers.LayerNorm(7, dtype=np.float64)
    layer.gamma.value += normal(1, 7, np.float64)
    layer.beta.value += normal(2, 7, np.float64)
    t, gamma, beta = leaf(x), leaf(layer.gamma.value), leaf(layer.beta.value)
    y = F.layer_norm(t, (7,), gamma, beta, 1e-5)
    y.backward(torch.from_numpy(dy))
    close(layer.forward(x), y)
    close(layer.backward(dy), t.grad)
    close(layer.gamma.grad, gamma.grad)
    close(layer.beta.grad, beta.grad)


@pytest.mark.parametrize("approximate", ["tanh", "none"])
def test_gelu(approximate, backend):
    x, dy = normal(0, (2, 50), np.float64, scale=3.0)
    t = leaf(x)
    y = F.gelu(t, approximate=approximate)
    y.backward(torch.from_numpy(dy))
    layer = layers.GELU(approximate)
    close(layer.forward(x), y)
    close(layer.backward(dy), t.grad)


@pytest.mark.parametrize("shape", [(2, 3, 7, 4), (1, 1, 1, 1), (1, 2, 33, 16)])
def test_attention(shape, backend):
    q, k, v, dy = normal(0, (4, *shape), np.float64)
    scale = shape[-1] ** -0.5
    leaves = [leaf(array) for array in (q, k, v)]
    theirs = F.scaled_dot_product_attention(*leaves, is_causal=True)
    theirs.backward(torch.from_numpy(dy))
    y, lse = ops.attention_forward(q, k, v, scale=scale)
    close(y, theirs)
    ours = ops.attention_backward(dy, q, k, v, y, lse, scale=scale)
    for gradient, tensor in zip(ours, leaves, strict=True):
        close(gradient, tensor.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_ignored_targets(smoothing, backend):
    logits = normal(0, (4, 5, 9), np.float64, scale=5.0)
    targets = np.random.default_rng(0).integers(0, 9, (4, 5))
    targets[1] = -100
    t = leaf(logits)
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    loss = theirs(t.flatten(0, 1), torch.from_numpy(targets).flatten())
    loss.backward()
    layer = layers.CrossEntropy(label_smoothing=smoothing)
    close(layer.forward(logits, targets), loss)
    close(layer.backward(1.0), t.grad)
    head = layers.OutputHead(9, 9, dtype=np.float64)  # the chunked form, of logits x I^T
    head.weight.value[...] = np.eye(9)
    close(head_loss(head, logits, targets, layer), loss)
    chunked, dx = head_loss_and_backward(head, logits, targets, layer, 1.0)
    close(chunked, loss)
    close(dx, t.grad)


def test_embedding_and_linear(backend):
    ids = np.array([[0, 2, 2, 1]])
    table = layers.Embedding(3, 4, rng=0, dtype=np.float64)
    linear = layers.Linear(4, 5, rng=1, dtype=np.float64)
    weights = [leaf(p.value) for p in (table.weight, linear.weight, linear.bias)]
    y = F.linear(F.embedding(torch.from_numpy(ids), weights[0]), weights[1], weights[2])
    dy = normal(0, (1, 4, 5), np.float64)
    y.backward(torch.from_numpy(dy))
    close(linear.forward(table.forward(ids)), y)
    table.backward(linear.backward(dy))
    for parameter, tensor in zip((table.weight, linear.weight, linear.bias), weights, strict=True):
        close(parameter.grad, tensor.grad)

"""Hessian-vector products against PyTorch's."""

import numpy as np
import pytest

from npgpt.gradients.curvature import Hessian
from tests.models.tiny import CONFIGS, batch_for, shaken_model

torch = pytest.importorskip("torch")

from tests.parity.torch_gpt import twin_name, twin_of  # noqa: E402


@pytest.mark.parametrize("name", CONFIGS)
def test_a_hessian_product_is_that_of_autograd(name):
    model = shaken_model(CONFIGS[name])
    inputs, targets = batch_for(model.config)
    vector = np.random.default_rng(1).standard_normal(model.num_parameters())
    product = Hessian(model, inputs, targets) @ vector

    twin = twin_of(model)
    parameters = dict(twin.named_parameters())
    shapes = {twin_name(p.name): p.shape for p in model.parameters()}
    cuts = np.cumsum([p.size for p in model.parameters()])[:-1]
    pieces = dict(zip(shapes, map(torch.from_numpy, np.split(vector, cuts)), strict=True))
    batch = torch.from_numpy(inputs), torch.from_numpy(targets)

    def loss(*values):
        logits = torch.func.functional_call(twin, dict(zip(shapes, values, strict=True)), batch[:1])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[1].flatten())

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        _, theirs = torch.autograd.functional.hvp(
            loss,
            tuple(parameters[n].detach() for n in shapes),
            tuple(pieces[n].reshape(shape) for n, shape in shapes.items()),
        )
    expected = np.concatenate([part.numpy().ravel() for part in theirs])
    np.testing.assert_allclose(product, expected, atol=1e-9)

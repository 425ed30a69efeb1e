"""Attention between sequences against the same in PyTorch, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

from npgpt import layers  # noqa: E402
from tests.parity.test_parity import close, leaf  # noqa: E402
from tests.strategies import normal  # noqa: E402

LENGTHS = np.array([5, 2, 0])
SIZES = {"Dot": (4,), "General": (4, 6), "Additive": (4, 6, 7), "Concat": (4, 6, 7)}


def their_scores(kind, x, memory, w):
    if kind == "Dot":
        return x @ memory.mT
    if kind == "General":
        return x @ (memory @ w["key.weight"].T).mT
    pairs = [
        x[:, :, None].expand(-1, -1, memory.shape[1], -1),
        memory[:, None].expand(-1, x.shape[1], -1, -1),
    ]
    if kind == "Additive":
        return torch.tanh(pairs[0] @ w["query.weight"].T + pairs[1] @ w["key.weight"].T) @ w["v"]
    return torch.tanh(torch.cat(pairs, dim=-1) @ w["weight"].T) @ w["v"]


@pytest.mark.parametrize("kind", SIZES)
def test_contexts_weights_and_every_gradient(kind, backend):
    layer = getattr(layers, f"{kind}Attention")(*SIZES[kind]).astype(np.float64)
    w = {name: leaf(value) for name, value in layer.state_dict().items()}
    x, memory = normal(0, (3, 4, 4), np.float64), normal(1, (3, 5, layer.d_memory), np.float64)
    t, m = leaf(x), leaf(memory)
    missing = torch.from_numpy(np.arange(5) >= LENGTHS[:, None])[:, None]
    weights = their_scores(kind, t, m, w).masked_fill(missing, -torch.inf).softmax(dim=-1)
    y = torch.nan_to_num(weights) @ m  # of an empty source there are no weights
    dy = normal(2, y.shape, np.float64)
    y[:2].backward(torch.from_numpy(dy[:2]))
    close(layer.forward(x, memory, LENGTHS), y)
    dx, dmemory = layer.backward(dy)
    assert not dx[2].any()
    assert not dmemory[2].any()
    close(dx[:2], t.grad[:2])
    close(dmemory[:2], m.grad[:2])
    for name, parameter in layer.named_parameters():
        close(parameter.grad, w[name].grad)

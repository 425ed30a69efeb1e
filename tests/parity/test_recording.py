"""Recorded activations and gradients against PyTorch's own."""

import math

import numpy as np
import pytest

from npgpt.gradients import record
from tests.models.tiny import CONFIGS, batch_for, shaken_model

torch = pytest.importorskip("torch")
F = torch.nn.functional

from tests.parity.torch_gpt import twin_of  # noqa: E402


def torch_tape(twin, token_ids, targets):
    """Run the twin step by step; map each of our names to a tensor that keeps its gradient."""
    tape = {}

    def keep(name, tensor):
        tensor.retain_grad()
        tape[name] = tensor
        return tensor

    time = token_ids.shape[1]
    x = keep("embeddings", twin.tokens(token_ids) + twin.positions.weight[:time])
    future = torch.triu(torch.ones(time, time, dtype=torch.bool), 1)
    for i, block in enumerate(twin.blocks):
        name = f"blocks.{i}"
        normed = keep(f"{name}.attention_norm.output", block.norm1(x))
        batch, _, d = normed.shape
        heads = (batch, time, block.n_heads, d // block.n_heads)
        q, k, v = (part.reshape(heads).transpose(1, 2) for part in block.qkv(normed).chunk(3, -1))
        q, k, v = (keep(f"{name}.attention.{n}", t) for n, t in zip("qkv", (q, k, v), strict=True))
        scores = (q @ k.mT / math.sqrt(heads[-1])).masked_fill(future, -math.inf)
        weights = keep(
            f"{name}.attention.weights", keep(f"{name}.attention.scores", scores).softmax(-1)
        )
        context = keep(f"{name}.attention.context", weights @ v)
        joined = context.transpose(1, 2).reshape(batch, time, d)
        x = x + keep(f"{name}.attention.output", block.projection(joined))
        x = keep(f"{name}.residual_middle", x)
        normed = keep(f"{name}.feed_forward_norm.output", block.norm2(x))
        hidden = keep(f"{name}.feed_forward.hidden", block.up(normed))
        activation = keep(f"{name}.feed_forward.activation", F.gelu(hidden, approximate="tanh"))
        x = keep(
            f"{name}.residual", x + keep(f"{name}.feed_forward.output", block.down(activation))
        )
    logits = keep("head.logits", twin.head(keep("final_norm.output", twin.norm(x))))
    F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    return tape


@pytest.mark.parametrize("name", CONFIGS)
def test_every_recorded_array_is_pytorchs(name):
    model = shaken_model(CONFIGS[name])
    inputs, targets = batch_for(model.config)
    with record(model) as tape:
        model.loss(inputs, targets)
        model.backward()
    theirs = torch_tape(twin_of(model), torch.from_numpy(inputs), torch.from_numpy(targets))
    assert set(tape) == set(theirs) == set(model.tap_names())
    for tap, recorded in tape.items():
        np.testing.assert_allclose(recorded.value, theirs[tap].detach(), atol=1e-10, err_msg=tap)
        np.testing.assert_allclose(recorded.grad, theirs[tap].grad, atol=1e-10, err_msg=tap)

"""Blocks that keep only their input for backward."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import ops
from npgpt.gradients import gradcheck
from npgpt.layers import RecomputingBlock
from npgpt.models import GPT, GPTConfig
from tests.layers.configs import block_config
from tests.models.tiny import batch_for
from tests.strategies import normal


def config(dropout=0.0, bias=True):
    return GPTConfig(13, 8, n_layers=3, n_heads=2, d_model=8, dropout=dropout, bias=bias)


def three_steps(recompute, dropout, dtype):
    """Losses and gradients of three steps, whose dropout masks differ."""
    model = GPT(config(dropout), seed=1, dtype=dtype, recompute=recompute)
    inputs, targets = batch_for(model.config)
    losses, gradients = [], []
    for _ in range(3):
        model.zero_grad()
        losses.append(model.loss_and_backward(inputs, targets))
        gradients.append([parameter.grad.copy() for parameter in model.parameters()])
    return losses, gradients, model.dropout_step


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_recomputing_changes_no_bit_of_any_gradient(dropout, dtype, backend):
    plain, plain_gradients, plain_step = three_steps(False, dropout, dtype)
    losses, gradients, step = three_steps(True, dropout, dtype)
    assert losses == plain
    assert step == plain_step
    for ours, theirs in zip(gradients, plain_gradients, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@settings(max_examples=6)
@given(
    dropout=st.sampled_from([0.0, 0.3]),
    method=st.sampled_from(["central", "complex"]),
    backend=st.sampled_from(ops.BACKENDS),
)
@pytest.mark.slow
def test_the_gradient_of_a_recomputing_gpt(dropout, method, backend):
    model = GPT(config(dropout), dtype=np.float64, recompute=True)
    for i, parameter in enumerate(model.parameters()):
        parameter.value += normal(i, parameter.shape, np.float64, scale=0.3)
    with ops.use(backend):
        report = gradcheck(model, *batch_for(model.config), method=method, max_coordinates=8)
    report.raise_if_failed()


def test_a_block_keeps_its_input_and_nothing_else():
    block = RecomputingBlock(block_config(8, 2))
    x = normal(0, (2, 5, 8), np.float32)
    for _ in range(2):
        y = block.forward(x)
        _, kept, *given = block.saved  # after the dropouts' steps
        assert kept is x
        assert given == [None, None, None]  # no memory, no masks
        assert all(layer.saved is None for layer in block.layers() if layer is not block)
        block.backward(np.ones_like(y))
        assert all(layer.saved is None for layer in block.layers() if layer is not block)


def test_backward_can_be_called_again():
    block = RecomputingBlock(block_config(8, 2, dropout=0.5))
    y = block.forward(normal(0, (2, 5, 8), np.float32))
    dy = np.ones_like(y)
    np.testing.assert_array_equal(block.backward(dy), block.backward(dy))

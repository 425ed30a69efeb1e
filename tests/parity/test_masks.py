"""Masks against PyTorch's ``scaled_dot_product_attention`` with an explicit mask, in float64."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

from npgpt import ops  # noqa: E402
from tests.parity.test_parity import close, leaf  # noqa: E402
from tests.strategies import normal  # noqa: E402

MASKS = {
    "bidirectional": ops.Mask(causal=False),
    "a window on both sides": ops.Mask(causal=False, window=5),
    "a wide window on both sides": ops.Mask(causal=False, window=70),
    "lengths": ops.Mask(causal=False, lengths=np.array([6, 1])),
    "lengths and a window on both sides": ops.Mask(False, 4, np.array([7, 5])),
    "causal with lengths": ops.Mask(lengths=np.array([7, 2])),
    "causal with lengths and a window": ops.Mask(True, 3, np.array([7, 2])),
}


def explicit(mask, time, keys):
    """Write a mask out as PyTorch takes it, (batch or 1, 1, time, keys)."""
    distance = torch.arange(keys - time, keys)[:, None] - torch.arange(keys)
    seen = torch.ones(1, 1, time, keys, dtype=torch.bool)
    if mask.causal:
        seen = seen & (distance >= 0)
    if mask.window is not None:
        seen = seen & (distance.abs() < mask.window)
    if mask.lengths is not None:
        there = torch.arange(keys) < torch.from_numpy(mask.lengths)[:, None]
        seen = seen & there[:, None, None]
    return seen


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("time", "keys"), [(7, 7), (130, 130), (9, 4), (4, 9), (3, 140), (140, 5)])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_is_pytorchs_explicit_one(mask, time, keys, biased, backend):
    dy, q = normal(0, (2, 2, 4, time, 8), np.float64)
    k, v = normal(1, (2, 2, 2, keys, 8), np.float64)
    bias = normal(2, (4, keys if mask.causal else time + keys - 1), np.float64)
    leaves = [leaf(array) for array in (q, k, v, bias)]
    seen = explicit(mask, time, keys)
    added = seen
    if biased:
        distance = torch.arange(keys - time, keys)[:, None] - torch.arange(keys)
        column = distance - keys + bias.shape[1]
        added = leaves[3][:, column.clamp(min=0)][None].masked_fill(~seen, -math.inf)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *leaves[:3], attn_mask=added, scale=0.5, enable_gqa=True
    )
    theirs.backward(torch.from_numpy(dy))
    choices = {"scale": 0.5, "mask": mask, "bias": bias if biased else None}
    y, lse = ops.attention_forward(q, k, v, **choices)
    close(y, theirs)
    dbias = np.zeros_like(bias) if biased else None
    gradients = ops.attention_backward(dy, q, k, v, y, lse, dbias=dbias, **choices)
    for ours, tensor in zip((*gradients, dbias)[: 3 + biased], leaves, strict=False):
        close(ours, tensor.grad)

"""The attention core of each side: from q, k, v to the context, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def task_name(shape: tuple[int, int, int, int], p: float, part: str) -> str:
    """Name the work that `npgpt_attention` and `torch_attention` make."""
    return " ".join(map(str, (*shape, p, part)))


def _inputs(task: str):
    *numbers, p, part = task.split()
    batch, heads, time, head_size = map(int, numbers)
    rng = np.random.default_rng(0)
    qkv = rng.standard_normal((batch, time, 3, heads, head_size), dtype=np.float32)
    dy = rng.standard_normal((batch, time, heads, head_size), dtype=np.float32)
    return qkv, dy, float(p), part


def npgpt_attention() -> Callable[[str], Callable[[], Any]]:
    """Make npgpt's side: the fused operation, as `npgpt.layers.MultiHeadAttention` calls it."""
    from npgpt import ops

    ops.Workspace().__enter__()  # until the process ends, as in training

    def make(task: str) -> Callable[[], Any]:
        qkv, dy, p, part = _inputs(task)
        dqkv = np.empty_like(qkv)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)
        gradients = tuple(dqkv.transpose(2, 0, 3, 1, 4))
        dy = dy.transpose(0, 2, 1, 3)
        scale, key = 1.0 / math.sqrt(q.shape[-1]), ops.DropoutKey(0, 0, 0)

        def forward():
            return ops.attention_forward(q, k, v, scale=scale, p=p, key=key)[0]

        def both():
            y, lse = ops.attention_forward(q, k, v, scale=scale, p=p, key=key)
            ops.attention_backward(dy, q, k, v, y, lse, scale=scale, p=p, key=key, out=gradients)
            return dqkv

        return both if part == "both" else forward

    return make


def torch_attention() -> Callable[[str], Callable[[], Any]]:
    """Make PyTorch's side: ``scaled_dot_product_attention`` and its autograd."""
    import torch
    from torch.nn import functional as F

    def make(task: str) -> Callable[[], Any]:
        array, dy_array, p, part = _inputs(task)
        qkv = torch.from_numpy(array).requires_grad_(part == "both")
        dy = torch.from_numpy(dy_array).transpose(1, 2)

        def forward():
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)

        def both():
            return torch.autograd.grad(forward(), qkv, dy)[0]

        return both if part == "both" else forward

    return make

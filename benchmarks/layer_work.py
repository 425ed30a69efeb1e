"""One operation of each side, at the shapes of a GPT: forward alone, or forward and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

VOCAB, EPS, P = 50257, 1e-5, 0.1
LINEAR = {"qkv": (1, 3), "up": (1, 4), "down": (4, 1)}  # in and out, in units of d_model
OPERATIONS = (
    "embedding",
    "layer norm",
    *(f"linear {name}" for name in LINEAR),
    "bias + GELU",
    "RMS norm",
    "SwiGLU",
    "rotary",
    "residual",
    "residual + dropout",
    "head + cross-entropy",
    "gradient norm",
    "AdamW",
)
WITHOUT_FORWARD = ("gradient norm", "AdamW")  # one pass, which is neither
NUM_PARAMETERS = 211  # in units of d_model squared: GPT-2 124M's at d_model 768
GATED = 8.0 / 3.0  # of d_model: width of a SwiGLU layer
HEAD_SIZE = 64
RANDOM = ("residual + dropout",)  # each side drops elements of its own


def least_work(d: int, shape: tuple[int, int], operation: str) -> tuple[float, float]:
    """Count what forward and back cannot do without: float operations, and bytes to and fro.

    Each array is read or written once a pass; only matrix products count as operations.
    """
    tokens, kind = shape[0] * shape[1], operation.split()[0]
    if kind == "linear":
        wide, narrow = LINEAR[operation.split()[1]]
        return 6.0 * tokens * wide * narrow * d * d, 0.0
    if kind == "head":
        return 6.0 * tokens * d * VOCAB, 0.0
    rows = {  # of d numbers, for each token
        "embedding": 3.0,
        "layer": 5.0,  # x, y; dy, x, dx
        "bias": 5.0 * 4,  # the same, 4 times as wide
        "RMS": 5.0,
        "SwiGLU": 8.0 * GATED,  # x, y; dy, x, dx, and x is twice as wide as y
        "rotary": 4.0,  # x, y; dy, dx
        "residual": 5.0 if operation in RANDOM else 3.0,
    }
    numbers = rows.get(kind, 0.0) * tokens * d
    if kind == "embedding":
        numbers += VOCAB * d  # the table's gradient
    numbers += {"gradient": 1.0, "AdamW": 7.0}.get(kind, 0.0) * NUM_PARAMETERS * d * d
    return 0.0, 4.0 * numbers


def _arrays(d: int, shape: tuple[int, int], operation: str) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def normal(*size):
        return 0.5 * rng.standard_normal(size, dtype=np.float32)

    kind = operation.split()[0]
    if kind == "embedding":
        ids = rng.integers(0, VOCAB, shape)
        return {
            "ids": ids,
            "w": normal(VOCAB, d),
            "b": normal(shape[1], d),
            "dy": normal(*shape, d),
        }
    if kind == "head":
        targets = rng.integers(0, VOCAB, shape)
        return {"x": normal(*shape, d), "w": 0.02 * normal(VOCAB, d), "ids": targets}
    if kind in ("gradient", "AdamW"):
        return {name: np.abs(normal(NUM_PARAMETERS * d * d)) for name in "xwmv"}
    if kind == "SwiGLU":
        d_ff = int(GATED * d)
        return {"x": normal(*shape, 2 * d_ff), "dy": normal(*shape, d_ff)}
    if kind == "rotary":
        heads = (shape[0], shape[1], d // HEAD_SIZE, HEAD_SIZE)  # as the linear map leaves them
        angles = np.arange(shape[1])[:, None] * 10000.0 ** (-np.arange(HEAD_SIZE // 2) / 32.0)
        return {
            "x": normal(*heads),
            "dy": normal(*heads),
            "w": np.cos(angles).astype(np.float32),
            "b": np.sin(angles).astype(np.float32),
        }
    wide, narrow = LINEAR.get(operation.partition(" ")[2], (1, 1))
    d_in, d_out = wide * d, narrow * d
    if kind == "bias":
        d_in = d_out = 4 * d
    return {
        "x": normal(*shape, d_in),
        "dy": normal(*shape, d_out),
        "w": normal(d_out, d_in) if kind == "linear" else normal(d_out),
        "b": normal(d_out),
    }


def _named(arrays: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(arrays.get(name) for name in ("x", "w", "b", "dy", "ids"))


def npgpt_layers(d: int, shape: tuple[int, int]) -> Callable[[str], Callable[[], Any]]:
    """Make npgpt's side."""
    from npgpt import ops

    ops.Workspace().__enter__()  # until the process ends, as in training

    def make(task: str) -> Callable[[], Any]:
        operation, _, part = task.rpartition(", ")
        a: dict[str, Any] = _arrays(d, shape, operation)
        x, w, b, dy, ids = _named(a)
        dw: Any
        db: Any
        dw, db = (None if t is None else np.zeros_like(t) for t in (w, b))
        key = ops.DropoutKey(0, 0, 0)

        def embedding_both():
            ops.embedding_forward(ids, w, b)
            dw.fill(0)
            ops.embedding_backward(dy, ids, dweight=dw)
            return dw

        def layer_norm_both():
            _, mean, rstd = ops.layer_norm_forward(x, w, b, EPS)
            return ops.layer_norm_backward(dy, x, w, mean, rstd, dgamma=dw, dbeta=db)

        def rms_norm_both():
            _, rstd = ops.rms_norm_forward(x, w, EPS)
            return ops.rms_norm_backward(dy, x, w, rstd, dgamma=dw)

        def swiglu_both():
            ops.swiglu_forward(x)
            return ops.swiglu_backward(dy, x)

        def rotary():
            return ops.rotary_forward(x.transpose(0, 2, 1, 3), w, b)

        def rotary_both():
            rotary()
            return ops.rotary_backward(dy.transpose(0, 2, 1, 3), w, b).transpose(0, 2, 1, 3)

        def linear_both():
            ops.linear_forward(x, w, b)
            return ops.linear_backward(dy, x, w, dweight=dw, dbias=db, overwrite=True)

        def gelu_both():
            ops.gelu_tanh_forward(x, b)
            return ops.gelu_tanh_backward(dy, x, b, dbias=db)

        def residual_both():
            ops.add(x, dy)
            return dy  # the gradient of both

        def dropout_both():
            ops.dropout_add_forward(x, dy, P, key)
            return ops.dropout_backward(dy, P, key)

        def head_both():
            return ops.head_cross_entropy_backward(1.0, x, w, ids, dweight=dw, overwrite=True)[1]

        def adamw():
            ops.adamw_update(w, x, a["m"], a["v"], 10, 1e-6, 0.9, 0.95, 1e-8, 0.1)
            return 0.0

        forward: Callable[[], Any]
        forward, both = {
            "embedding": (lambda: ops.embedding_forward(ids, w, b), embedding_both),
            "layer": (lambda: ops.layer_norm_forward(x, w, b, EPS)[0], layer_norm_both),
            "linear": (lambda: ops.linear_forward(x, w, b), linear_both),
            "bias": (lambda: ops.gelu_tanh_forward(x, b), gelu_both),
            "RMS": (lambda: ops.rms_norm_forward(x, w, EPS)[0], rms_norm_both),
            "SwiGLU": (lambda: ops.swiglu_forward(x), swiglu_both),
            "rotary": (rotary, rotary_both),
            "residual": (lambda: ops.add(x, dy), residual_both),
            "residual +": (lambda: ops.dropout_add_forward(x, dy, P, key), dropout_both),
            "head": (lambda: ops.head_cross_entropy_forward(x, w, ids), head_both),
            "gradient": (lambda: ops.sum_of_squares(x) ** 0.5,) * 2,
            "AdamW": (adamw, adamw),
        }["residual +" if operation in RANDOM else operation.split()[0]]
        return both if part == "both" else forward

    return make


def torch_layers(d: int, shape: tuple[int, int]) -> Callable[[str], Callable[[], Any]]:
    """Make PyTorch's side: its functions, and its autograd."""
    import torch
    from torch.nn import functional as F

    def make(task: str) -> Callable[[], Any]:
        operation, _, part = task.rpartition(", ")
        a: dict[str, Any] = {
            name: torch.from_numpy(array) for name, array in _arrays(d, shape, operation).items()
        }
        kind, both = operation.split()[0], part == "both"
        x, w, b, dy, ids = _named(a)
        if kind == "AdamW":
            w.grad = x
            optimizer = torch.optim.AdamW([w], lr=1e-6, betas=(0.9, 0.95), fused=True)
            return lambda: optimizer.step() or 0.0
        if kind == "gradient":
            tensors = x.chunk(148)  # as many as GPT-2 124M has parameters
            return lambda: torch.nn.utils.get_total_norm(tensors)
        if kind == "residual":
            shortcut, branch = x.requires_grad_(both), dy.clone().requires_grad_(both)
            p = P if operation in RANDOM else 0.0
            if not both:
                return lambda: shortcut + F.dropout(branch, p)
            return lambda: torch.autograd.grad(shortcut + F.dropout(branch, p), branch, dy)[0]
        learned = [t.requires_grad_(both) for t in (x, w, b) if t is not None]
        forward: Callable[[], Any] = {
            "embedding": lambda: F.embedding(ids, w) + b,
            "layer": lambda: F.layer_norm(x, w.shape, w, b, EPS),
            "linear": lambda: F.linear(x, w, b),
            "bias": lambda: F.gelu(x + b, approximate="tanh"),
            "RMS": lambda: F.rms_norm(x, w.shape, w, EPS),
            "SwiGLU": lambda: _swiglu(F, x),
            "rotary": lambda: _rotated(torch, x.transpose(1, 2), w, b),
            "head": lambda: F.cross_entropy(F.linear(x, w).flatten(0, 1), ids.flatten()),
        }[kind]
        if kind == "bias":
            learned = [x, b]
        if kind == "RMS":
            learned = [x, w]
        if kind == "rotary":
            learned, dy = [x], dy.transpose(1, 2)
        return (lambda: torch.autograd.grad(forward(), learned, dy)[0]) if both else forward

    return make


def _swiglu(F, x):
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


def _rotated(torch, x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

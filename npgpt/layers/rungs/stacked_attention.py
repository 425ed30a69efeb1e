"""Multi-head attention as a stack of single heads, and its conversion to weight splits."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt.layers.attention import MultiHeadAttention
from npgpt.layers.block_config import BlockConfig
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.taps import Listening
from npgpt.layers.linear import Linear
from npgpt.layers.rungs.self_attention import CausalSelfAttention
from npgpt.ops.array import Array


class StackedAttention(Layer):
    """Causal heads side by side, their contexts concatenated and projected.

    Computes what `MultiHeadAttention` computes with one large matrix that it splits among heads;
    `to_multi_head` and `of_multi_head` convert one into the other.

    Parameters
    ----------
    d_model, n_heads : int
        ``n_heads`` must divide ``d_model``.
    dropout : float
        Of the attention weights; each head draws from a stream of its own.
    bias : bool
    seed, first_stream : int
        Of the dropout masks.
    rng, dtype
        As for `Linear`.

    Raises
    ------
    ValueError
        If the heads do not divide the width.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        seed: int = 0,
        first_stream: int = 0,
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ):
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(
                f"StackedAttention: n_heads must divide d_model, got d_model {d_model} and n_heads "
                f"{n_heads}."
            )
        rng = np.random.default_rng(rng)
        self.d_model, self.head_size = d_model, d_model // n_heads
        self.heads = [
            CausalSelfAttention(
                d_model, self.head_size, dropout, qkv_bias=bias, seed=seed, stream=first_stream + h,
                rng=rng, dtype=dtype,
            )
            for h in range(n_heads)
        ]  # fmt: skip
        self.projection = Linear(d_model, d_model, bias, rng=rng, dtype=dtype)

    def forward(self, x: Array) -> Array:
        """Map (batch, time, d_model) to the same shape."""
        contexts = [head.forward(x) for head in self.heads]  # each (batch, time, head_size)
        return self.projection.forward(np.concatenate(contexts, axis=-1))

    def backward(self, dy: Array) -> Array:
        """Add to all gradients inside; return that of ``x``, (batch, time, d_model)."""
        dcontexts = np.split(self.projection.backward(dy), len(self.heads), axis=-1)
        dxs = [
            head.backward(dcontext) for head, dcontext in zip(self.heads, dcontexts, strict=True)
        ]
        return sum(dxs[1:], dxs[0])

    def to_multi_head(self) -> MultiHeadAttention:
        """Return the `MultiHeadAttention` with the same weights."""
        projection = self.projection
        config = BlockConfig(
            n_layers=1,
            n_heads=len(self.heads),
            d_model=self.d_model,
            dropout=self.heads[0].dropout.p,
            bias=projection.bias is not None,
        )
        layer = MultiHeadAttention(config, Init(dtype=projection.weight.value.dtype))
        for name, parameter in layer.qkv.named_parameters():
            maps = [getattr(head, part) for part in PARTS for head in self.heads]
            parameter.value[...] = np.concatenate([getattr(m, name).value for m in maps])
        layer.projection.load_state_dict(projection.state_dict())
        return layer

    @classmethod
    def of_multi_head(cls, layer: MultiHeadAttention) -> StackedAttention:
        """Return the stack with the weights of a `MultiHeadAttention`.

        Raises
        ------
        ValueError
            If its heads share keys, see a window, or know positions: single heads do not.
        """
        plain = (layer.n_heads, None, None, None)
        if (layer.n_kv_heads, layer.window, layer.rotary, layer.position_bias) != plain:
            raise ValueError(
                "StackedAttention: a stack of single heads has no n_kv_heads, window, rotary or "
                "position_bias."
            )
        bias = layer.projection.bias is not None
        stack = cls(
            layer.d_model, layer.n_heads, layer.dropout.p, bias,
            dtype=layer.projection.weight.value.dtype,
        )  # fmt: skip
        for head in stack.heads:
            head.scale = layer.scale
        for name, parameter in layer.qkv.named_parameters():
            pieces = iter(np.split(parameter.value, 3 * layer.n_heads))
            for part in PARTS:
                for head in stack.heads:
                    getattr(getattr(head, part), name).value[...] = next(pieces)
        stack.projection.load_state_dict(layer.projection.state_dict())
        return stack


PARTS = ("query", "key", "value")


def explain_shapes(layer: MultiHeadAttention, x: Array) -> str:
    """Say what `MultiHeadAttention` does with its splits, step by step, with the shapes.

    Parameters
    ----------
    layer : MultiHeadAttention
    x : ndarray, shape (batch, time, d_model)

    Returns
    -------
    str
        A line for each step, from a forward pass.

    Examples
    --------
    >>> import numpy as np
    >>> layer = MultiHeadAttention(BlockConfig(n_layers=1, n_heads=2, d_model=8))
    >>> print(explain_shapes(layer, np.zeros((1, 6, 8), np.float32)))
    x                                        (1, 6, 8)
    x W_qkv^T: q, k, v of all heads          (1, 6, 24)
    reshape: a row for each head             (1, 6, 6, 4)
    transpose: heads before time             (1, 6, 6, 4)
    q                                        (1, 2, 6, 4)
    k                                        (1, 2, 6, 4)
    v                                        (1, 2, 6, 4)
    scores                                   (1, 2, 6, 6)
    weights                                  (1, 2, 6, 6)
    context                                  (1, 2, 6, 4)
    transpose back, join the heads           (1, 6, 8)
    output                                   (1, 6, 8)
    """
    with _Shapes(layer) as shapes:
        layer.forward(x)
    batch, time, _ = x.shape
    rows = layer.qkv.d_out // layer.head_size
    steps = [
        ("x", x.shape),
        ("x W_qkv^T: q, k, v of all heads", (batch, time, layer.qkv.d_out)),
        ("reshape: a row for each head", (batch, time, rows, layer.head_size)),
        ("transpose: heads before time", (batch, rows, time, layer.head_size)),
        *((name, shape) for name, shape in shapes.seen if name != "output"),
        ("transpose back, join the heads", (batch, time, layer.d_model)),
        shapes.seen[-1],
    ]
    return "\n".join(f"{step:<40} {shape}" for step, shape in steps)


class _Shapes(Listening):
    """A listener that notes the shape of every tap."""

    def __init__(self, layer: MultiHeadAttention):
        super().__init__(layer)
        self.seen: list[tuple[str, tuple[int, ...]]] = []

    def wants(self, name: str) -> bool:
        return True

    def on_activation(self, name: str, array: Array) -> Array:
        self.seen.append((name.rpartition(".")[2], array.shape))
        return array

"""LoRA: a frozen linear map, and a trained one of low rank beside it."""

from __future__ import annotations

import numpy as np

from npgpt import ops
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.dropout import Dropout
from npgpt.layers.linear import Linear


class LoRALinear(Linear):
    """Affine map with a low-rank addition: ``y = x W^T + b + (alpha / rank) dropout(x) A^T B^T``.

    (Hu et al. 2022, arXiv 2106.09685, eq. 3.) ``W`` and ``b`` are frozen, A and B are trained: of
    ``d_out d_in`` numbers, ``rank (d_in + d_out)``. B starts at 0, and the map as it was.

    Parameters
    ----------
    d_in, d_out : int
    rank : int
    alpha : float
        The addition is scaled by ``alpha / rank``, so that a learning rate keeps its meaning when
        the rank changes.
    dropout : float
        Probability, for the addition's input.
    seed, stream : int
        Of the dropout masks.
    bias, std, rng, dtype
        As for `Linear`. A starts from the uniform distribution on +-1/sqrt(d_in), as in the paper's
        code.

    Attributes
    ----------
    weight, bias : Parameter
        Frozen.
    lora_A : Parameter, shape (rank, d_in)
    lora_B : Parameter, shape (d_out, rank)
    merged : bool
        Whether the addition is part of ``weight`` now.

    Raises
    ------
    ValueError
        If ``rank`` is below 1 or ``alpha`` is not positive.
    """

    def __init__(
        self,
        d_in,
        d_out,
        rank=8,
        alpha=16.0,
        dropout=0.0,
        seed=0,
        stream=0,
        bias=True,
        std=0.02,
        rng=None,
        dtype=np.float32,
    ):
        rng = np.random.default_rng(rng)
        super().__init__(d_in, d_out, bias, std, rng, dtype)
        self._add_low_rank(rank, alpha, dropout, seed, stream, rng)

    @classmethod
    def of(cls, linear: Linear, rank, alpha, dropout=0.0, seed=0, stream=0, rng=None) -> LoRALinear:
        """Put an addition beside a linear map, whose parameters it takes over and freezes."""
        layer = cls.__new__(cls)
        layer.__dict__.update(vars(linear))
        layer._add_low_rank(rank, alpha, dropout, seed, stream, np.random.default_rng(rng))
        return layer

    def _add_low_rank(self, rank, alpha, dropout, seed, stream, rng):
        if rank < 1 or not alpha > 0.0:
            raise ValueError(
                f"LoRALinear: rank must be at least 1 and alpha positive, got {rank} and {alpha}."
            )
        self.rank, self.alpha, self.scaling = rank, alpha, alpha / rank
        self.merged = False
        self.weight.freeze()
        if self.bias:
            self.bias.freeze()
        dtype = self.weight.value.dtype
        bound = self.d_in**-0.5
        self.lora_A = Parameter(rng.uniform(-bound, bound, (rank, self.d_in)).astype(dtype))
        self.lora_B = Parameter(np.zeros((self.d_out, rank), dtype))
        self.dropout = Dropout(dropout, seed, stream)

    def forward(self, x, with_bias=True):
        """Map (..., d_in) to (..., d_out); without the bias if what follows adds it."""
        y = super().forward(x, with_bias)
        if self.merged:
            return y
        dropped = self.dropout.forward(x)
        h = ops.low_rank_forward(dropped, self.lora_A.value, self.lora_B.value, self.scaling, y)
        self.keep(*self.recall(), dropped, h)
        return y

    def backward(self, dy):
        """Add to the gradients of A and B; return that of ``x``, (..., d_in)."""
        if self.merged:
            raise RuntimeError(f"{self._where()}: a merged map is not trained; unmerge it first.")
        x, with_bias, dropped, h = self.recall()
        dx = self._backward(dy, x, with_bias)  # through W
        # through A and B; without dropout both ways lead to the same x, and share its gradient
        shared = dx if dropped is x else None
        ddropped = ops.low_rank_backward(
            dy, dropped, self.lora_A.value, self.lora_B.value, self.scaling, h,
            dlora_a=self.lora_A.grad, dlora_b=self.lora_B.grad, dshortcut=shared, out=shared,
        )  # fmt: skip
        return ddropped if dropped is x else dx + self.dropout.backward(ddropped)

    def merge(self) -> None:
        """Add ``(alpha / rank) B A`` to ``weight``: the same map at a plain one's cost."""
        if not self.merged:
            self.weight.value += self._addition()
            self.merged, self.saved = True, None

    def unmerge(self) -> None:
        """Take the addition out of ``weight`` again, up to rounding."""
        if self.merged:
            self.weight.value -= self._addition()
            self.merged, self.saved = False, None

    def _addition(self):
        product = self.lora_B.value @ self.lora_A.value  # (d_out, d_in)
        return product * product.real.dtype.type(self.scaling)

    def to_linear(self) -> Linear:
        """Return the merged map as a plain, trained `Linear` on the same memory."""
        self.merge()
        linear = Linear.__new__(Linear)
        own = ("rank", "alpha", "scaling", "merged", "lora_A", "lora_B", "dropout")
        linear.__dict__.update({k: v for k, v in vars(self).items() if k not in own})
        linear.saved = None
        linear.weight.freeze(False)
        if linear.bias:
            linear.bias.freeze(False)
        return linear

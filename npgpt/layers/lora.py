"""LoRA: a frozen linear map, and a trained one of low rank beside it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from npgpt import ops
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.dropout import Dropout
from npgpt.layers.linear import Affine, Linear
from npgpt.ops.array import Array


class LowRank(NamedTuple):
    """What `LoRALinear` keeps: of the map; what the addition read; and ``h``, half way in it."""

    of_map: Affine
    dropped: Array
    h: Array


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
        d_in: int,
        d_out: int,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        seed: int = 0,
        stream: int = 0,
        bias: bool = True,
        std: float = 0.02,
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ):
        rng = np.random.default_rng(rng)
        super().__init__(d_in, d_out, bias, std, rng, dtype)
        self._add_low_rank(rank, alpha, dropout, seed, stream, rng)

    @classmethod
    def of(
        cls,
        linear: Linear,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        seed: int = 0,
        stream: int = 0,
        rng: np.random.Generator | int | None = None,
    ) -> LoRALinear:
        """Put an addition beside a linear map, whose parameters it takes over and freezes.

        Parameters
        ----------
        linear : Linear
        rank, alpha, dropout, seed, stream
            As of the class.
        rng : numpy.random.Generator or int, optional
            Of the addition's start.
        """
        layer = cls.of_parameters(linear.weight, linear.bias)
        layer._add_low_rank(rank, alpha, dropout, seed, stream, np.random.default_rng(rng))
        return layer

    def _add_low_rank(
        self,
        rank: int,
        alpha: float,
        dropout: float,
        seed: int,
        stream: int,
        rng: np.random.Generator,
    ) -> None:
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

    def _map(self, x: Array, bias: Parameter | None) -> Array:
        y = super()._map(x, bias)
        if self.merged:
            return y
        of_map, dropped = self.recall(), self.dropout.forward(x)
        h = ops.low_rank_forward(dropped, self.lora_A.value, self.lora_B.value, self.scaling, y)
        self.keep(LowRank(of_map, dropped, h))
        return y

    def backward(self, dy: Array) -> Array:
        """Add to the gradients of A and B; return that of ``x``, (..., d_in)."""
        if self.merged:
            raise RuntimeError(f"{self._where()}: a merged map is not trained; unmerge it first.")
        of_map, dropped, h = self.recall()
        x = of_map.x
        dx = self._map_backward(dy, of_map)  # through W
        # through A and B; without dropout both ways lead to the same x, and share its gradient
        shared = dx if dropped is x else None
        ddropped = ops.low_rank_backward(
            dy, dropped, self.lora_A.value, self.lora_B.value, self.scaling, h,
            dlora_a=self.lora_A.grad, dlora_b=self.lora_B.grad, dshortcut=shared, out=shared,
        )  # fmt: skip
        return ddropped if dropped is x else dx + self.dropout.backward(ddropped)

    def merged_weight(self) -> np.ndarray:
        """Return ``weight`` with the addition in it, (d_out, d_in); the layer stays as it is."""
        return self.weight.value if self.merged else self.weight.value + self._addition()

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

    def _addition(self) -> Array:
        product = self.lora_B.value @ self.lora_A.value  # (d_out, d_in)
        return product * product.real.dtype.type(self.scaling)

    def to_linear(self) -> Linear:
        """Return the merged map as a plain, trained `Linear` on the same memory."""
        self.merge()
        linear = Linear.of_parameters(self.weight, self.bias)
        linear.train(self.training)
        linear.weight.freeze(False)
        if linear.bias:
            linear.bias.freeze(False)
        return linear

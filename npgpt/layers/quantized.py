"""Layers whose weight is kept in fewer bits: for inference, with no backward."""

from __future__ import annotations

import numpy as np

from npgpt import ops
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.embedding import Embedding
from npgpt.ops import IGNORE_INDEX
from npgpt.ops.array import Array

KINDS = ("bfloat16", "int8")


class QuantizedWeight:
    """A matrix in fewer bits.

    Parameters
    ----------
    weight : ndarray of float32, shape (rows, columns)
    kind : {"bfloat16", "int8"}
        int8 has a scale for each row.
    """

    def __init__(self, weight: Array, kind: str):
        if kind not in KINDS:
            raise ValueError(f"quantize: kind must be one of {', '.join(KINDS)}, got {kind!r}.")
        self.scales: Array | None = None
        if kind == "int8":
            self.array, self.scales = ops.to_int8(weight)
        else:
            self.array = ops.to_bfloat16(weight)

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.array.nbytes + (0 if self.scales is None else self.scales.nbytes)

    def rows(self, index: Array) -> Array:
        """Return some rows as float32."""
        return ops.from_bits(self.array[index], None if self.scales is None else self.scales[index])


class InferenceOnly(Layer):
    """Base of layers without backward."""

    IN_STEPS = True

    def backward(self, dy: Array) -> Array:
        """Raise RuntimeError."""
        raise RuntimeError(
            f"{self._where()} is for inference only: its weight was rounded to fewer bits. Load "
            "the model in float32 to train it."
        )


class QuantizedLinear(InferenceOnly):
    """`Linear`, or the output head, with a weight in fewer bits.

    Parameters
    ----------
    weight : QuantizedWeight, shape (d_out, d_in)
    bias : Parameter, optional
    """

    def __init__(self, weight: QuantizedWeight, bias: Parameter | None = None):
        super().__init__()
        self.weight, self.bias = weight, bias
        self.d_out, self.d_in = weight.array.shape

    def forward(self, x: Array) -> Array:
        """Map (..., d_in) to (..., d_out)."""
        return self._map(x, self.bias.value if self.bias else None)

    def product(self, x: Array) -> Array:
        """Map without the bias, for a layer that adds it itself."""
        return self._map(x, None)

    def _map(self, x: Array, bias: Array | None) -> Array:
        self._check_last_axis(x, self.d_in, "d_in")
        return ops.quantized_linear_forward(x, self.weight.array, self.weight.scales, bias)


class QuantizedHead(QuantizedLinear):
    """`OutputHead` with a weight in fewer bits."""

    TAPS = ("logits",)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return self.d_out

    def forward(self, x: Array) -> Array:
        """Map (..., d_model) to logits (..., vocab_size)."""
        return self.tap("logits", super().forward(x))

    def cross_entropy(
        self,
        x: Array,
        targets: Array,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
    ) -> np.floating:
        """Compute the cross-entropy of the logits, a few rows at a time.

        Parameters
        ----------
        x, targets, ignore_index, label_smoothing
            As for `OutputHead.cross_entropy`.
        """
        rows, targets = x.reshape(-1, self.d_in), targets.reshape(-1)
        counted = targets != ignore_index
        rows, targets = rows[counted], targets[counted]
        nats, step = 0.0, ops.head_chunk_rows(self.d_out)
        for begin in range(0, len(rows), step):
            part = slice(begin, begin + step)
            logits = self.forward(rows[part])
            loss, _ = ops.cross_entropy_forward(
                logits, targets[part], label_smoothing=label_smoothing
            )
            nats += float(loss) * len(targets[part])
        return x.dtype.type(nats / len(rows)) if len(rows) else x.dtype.type(np.nan)


class QuantizedEmbedding(InferenceOnly):
    """`Embedding` with a table in fewer bits.

    Parameters
    ----------
    weight : QuantizedWeight, shape (vocab_size, d_model)
    embedding : Embedding
        Whose checks of the ids are used.
    """

    def __init__(self, weight: QuantizedWeight, embedding: Embedding):
        super().__init__()
        self.weight, self._checked = weight, embedding.checked
        self.vocab_size, self.d_model = weight.array.shape

    def forward(self, token_ids: Array, rows: Array | None = None) -> Array:
        """Look up ids of shape (...); returns (..., d_model).

        Parameters
        ----------
        token_ids, rows
            As for `Embedding.forward`.
        """
        y = self.weight.rows(self._checked(token_ids))
        return y if rows is None else y + rows

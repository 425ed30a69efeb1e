"""The output head: from the residual stream to logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgpt import ops
from npgpt.fields import check_whole
from npgpt.layers.core.init import Unfilled, normal
from npgpt.layers.core.layer import Layer, does_as
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.losses import CrossEntropy
from npgpt.layers.quantized import QuantizedHead
from npgpt.ops import IGNORE_INDEX
from npgpt.ops.array import Array


class OutputHead(Layer):
    """Logits of a token: ``logits = x W^T``, or ``x W^T + b``.

    Parameters
    ----------
    d_model, vocab_size : int
    tied_to : Parameter, optional
        The token embedding's weight, (vocab_size, d_model). The head then *is* that parameter,
        which gets the gradients of both uses (Press and Wolf 2017, arXiv 1608.05859). Without it
        the head has a weight of its own.
    rng, dtype
        As for `Linear`; used for a weight of its own.
    bias : bool
        Whether each token has a number of its own, which starts at 0 (Devlin et al. 2018; released
        code).

    Attributes
    ----------
    weight : Parameter, shape (vocab_size, d_model)
    bias : Parameter, shape (vocab_size,), or None
    """

    TAPS = ("logits",)
    IN_STEPS = True

    def __init__(
        self,
        d_model: int,
        vocab_size: int,
        tied_to: Parameter | None = None,
        rng: np.random.Generator | Unfilled | int | None = None,
        dtype: Any = np.float32,
        bias: bool = False,
    ):
        super().__init__()
        check_whole("OutputHead", d_model=d_model, vocab_size=vocab_size)
        if tied_to is not None and tied_to.shape != (vocab_size, d_model):
            raise ValueError(
                f"OutputHead: a tied weight must have shape {(vocab_size, d_model)}, "
                f"got {tied_to.shape}."
            )
        self.d_model, self.vocab_size = d_model, vocab_size
        self.weight = tied_to or Parameter(normal(rng, (vocab_size, d_model), 0.02, dtype))
        self.bias = Parameter(np.zeros(vocab_size, self.weight.value.dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Map (..., d_model) to logits (..., vocab_size)."""
        self._check_last_axis(x, self.d_model, "d_model")
        self.keep(x)
        return self.tap("logits", ops.linear_forward(x, self.weight.value, self._bias()))

    def backward(self, dlogits: Array) -> Array:
        """Add to the gradients of weight and bias; return that of ``x``, (..., d_model)."""
        x = self.recall()
        self._check_dy(dlogits, (*x.shape[:-1], self.vocab_size))
        dlogits = self.tap_grad("logits", dlogits)
        dweight, overwrite = self.weight.grad_to_fill()
        return ops.linear_backward(
            dlogits, x, self.weight.value,
            dweight=dweight, dbias=self._dbias(), overwrite=overwrite,
        )  # fmt: skip

    def cross_entropy(
        self,
        x: Array,
        targets: Array,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
    ) -> np.floating:
        """Compute the cross-entropy of the logits, which never exist all at once.

        Parameters
        ----------
        x : ndarray, shape (..., d_model)
        targets : ndarray of int, shape (...)
        ignore_index, label_smoothing
            As for `CrossEntropy`.
        """
        return ops.head_cross_entropy_forward(
            x, self.weight.value, targets,
            ignore_index=ignore_index, label_smoothing=label_smoothing, bias=self._bias(),
        )  # fmt: skip

    def cross_entropy_and_backward(
        self,
        x: Array,
        targets: Array,
        dloss: float = 1.0,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
    ) -> tuple[np.floating, Array]:
        """Compute `cross_entropy` and do its backward: add to the gradients of weight and bias.

        Parameters
        ----------
        x, targets, ignore_index, label_smoothing
            As for `cross_entropy`.
        dloss : float
            The gradient of the loss, which multiplies all others.

        Returns
        -------
        loss : scalar
        dx : ndarray, shape (..., d_model)
            The gradient of ``x``.
        """
        dweight, overwrite = self.weight.grad_to_fill()
        return ops.head_cross_entropy_backward(
            dloss, x, self.weight.value, targets,
            ignore_index=ignore_index, label_smoothing=label_smoothing, bias=self._bias(),
            dweight=dweight, dbias=self._dbias(), overwrite=overwrite,
        )  # fmt: skip

    def _bias(self) -> Array | None:
        return self.bias.value if self.bias else None

    def _dbias(self) -> Array | None:
        return self.bias.grad if self.bias else None


def head_loss(head: Layer, x: Array, targets: Array, loss: CrossEntropy) -> np.floating:
    """Compute the loss of a head's logits, a chunk at a time if head and loss are the plain ones.

    Parameters
    ----------
    head : Layer
    x : ndarray, shape (..., d_model)
    targets : ndarray of int, shape (...)
    loss : CrossEntropy
    """
    if (
        not does_as(loss, CrossEntropy)
        or not isinstance(head, OutputHead | QuantizedHead)
        or (isinstance(head, OutputHead) and not does_as(head, OutputHead))
    ):
        return loss.forward(head.forward(x), targets)
    targets = loss.checked_targets(targets, (*x.shape[:-1], head.vocab_size))
    return head.cross_entropy(x, targets, **loss.choices)


def head_loss_and_backward(
    head: Layer, x: Array, targets: Array, loss: CrossEntropy, dloss: float
) -> tuple[np.floating, Array]:
    """Compute `head_loss` and the gradient of ``x``; add to the head's gradients.

    Parameters
    ----------
    head, x, targets, loss
        As for `head_loss`.
    dloss : float
    """
    if does_as(head, OutputHead) and does_as(loss, CrossEntropy):
        targets = loss.checked_targets(targets, (*x.shape[:-1], head.vocab_size))
        return head.cross_entropy_and_backward(x, targets, dloss, **loss.choices)
    value = loss.forward(head.forward(x), targets)
    return value, head.backward(loss.backward(dloss))

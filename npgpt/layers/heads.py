"""The output head: from the residual stream to logits."""

import numpy as np

from npgpt import ops
from npgpt.layers.core.init import normal
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.ops import IGNORE_INDEX


class OutputHead(Layer):
    """Logits of the next token: ``logits = x W^T``, without a bias.

    Parameters
    ----------
    d_model, vocab_size : int
    tied_to : Parameter, optional
        The token embedding's weight, (vocab_size, d_model). The head then *is* that parameter,
        which gets the gradients of both uses (Press and Wolf 2017, arXiv 1608.05859). Without it
        the head has a weight of its own.
    rng, dtype
        As for `Linear`; used for a weight of its own.

    Attributes
    ----------
    weight : Parameter, shape (vocab_size, d_model)
    """

    TAPS = ("logits",)

    def __init__(self, d_model, vocab_size, tied_to=None, rng=None, dtype=np.float32):
        super().__init__()
        if tied_to is not None and tied_to.shape != (vocab_size, d_model):
            raise ValueError(
                f"OutputHead: a tied weight must have shape {(vocab_size, d_model)}, "
                f"got {tied_to.shape}."
            )
        self.d_model, self.vocab_size = d_model, vocab_size
        self.weight = tied_to or Parameter(normal(rng, (vocab_size, d_model), 0.02, dtype))

    def forward(self, x):
        """Map (..., d_model) to logits (..., vocab_size)."""
        self._check_last_axis(x, self.d_model, "d_model")
        self.keep(x)
        return self.tap("logits", ops.linear_forward(x, self.weight.value))

    def backward(self, dlogits):
        """Add to the weight's gradient; return that of ``x``, (..., d_model)."""
        x = self.recall()
        self._check_dy(dlogits, (*x.shape[:-1], self.vocab_size))
        dlogits = self.tap_grad("logits", dlogits)
        dweight, overwrite = self.weight.grad_to_fill()
        return ops.linear_backward(
            dlogits, x, self.weight.value, dweight=dweight, overwrite=overwrite
        )

    def cross_entropy(self, x, targets, ignore_index=IGNORE_INDEX):
        """Compute the cross-entropy of the logits, which never exist all at once.

        Parameters
        ----------
        x : ndarray, shape (..., d_model)
        targets : ndarray of int, shape (...)
        ignore_index : int
        """
        return ops.head_cross_entropy_forward(
            x, self.weight.value, targets, ignore_index=ignore_index
        )

    def cross_entropy_and_backward(self, x, targets, dloss=1.0, ignore_index=IGNORE_INDEX):
        """Compute `cross_entropy` and do its backward: add to the weight's gradient.

        Returns
        -------
        loss : scalar
        dx : ndarray, shape (..., d_model)
            The gradient of ``x``.
        """
        dweight, overwrite = self.weight.grad_to_fill()
        return ops.head_cross_entropy_backward(
            dloss, x, self.weight.value, targets,
            ignore_index=ignore_index, dweight=dweight, overwrite=overwrite,
        )  # fmt: skip

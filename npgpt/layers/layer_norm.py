"""Layer normalisation."""

import numpy as np

from npgpt import ops
from npgpt.layers.base import Layer
from npgpt.layers.parameter import Parameter


class LayerNorm(Layer):
    """Normalise each position to mean 0 and variance 1, then scale by gamma and shift by beta.

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, over the last axis (Ba, Kiros and Hinton
    2016, arXiv 1607.06450, eq. 4).

    Parameters
    ----------
    d_model : int
    eps : float
    bias : bool
        Whether there is a ``beta``.
    dtype : dtype

    Attributes
    ----------
    gamma : Parameter, shape (d_model,), starting at 1
    beta : Parameter, shape (d_model,), starting at 0, or None

    Notes
    -----
    Tap: ``output``.
    """

    TAPS = ("output",)

    def __init__(self, d_model, eps=1e-5, bias=True, dtype=np.float32):
        super().__init__()
        self.d_model, self.eps = d_model, eps
        self.gamma = Parameter(np.ones(d_model, dtype))
        self.beta = Parameter(np.zeros(d_model, dtype)) if bias else None

    def forward(self, x):
        """Normalise (..., d_model)."""
        self._check_last_axis(x, self.d_model, "d_model")
        beta = self.beta.value if self.beta else None
        y, mean, rstd = ops.layer_norm_forward(x, self.gamma.value, beta, self.eps)
        self.saved = x, mean, rstd
        return self.tap("output", y)

    def backward(self, dy, dshortcut=None):
        """Add to the gradients of gamma and beta; return that of ``x``, (..., d_model).

        ``dshortcut``, a gradient that reaches ``x`` round the norm, is added to the result.
        """
        x, mean, rstd = self._recall()
        self._check_dy(dy, x.shape)
        dy = self.tap_grad("output", dy)
        dbeta = self.beta.grad if self.beta else None
        gamma = self.gamma
        return ops.layer_norm_backward(dy, x, mean, rstd, gamma.value, gamma.grad, dbeta, dshortcut)

    def linear_part(self, parts, index):
        """Apply the last forward pass to parts of one position's input, statistics held.

        With mean and standard deviation held at their values the norm is linear up to ``beta``, so
        the results of parts that sum to the input sum to ``y - beta``.

        Parameters
        ----------
        parts : ndarray, shape (..., d_model)
        index : tuple of int
            Which position of the last forward pass.
        """
        _, _, rstd = self._recall()
        centred = parts - parts.mean(axis=-1, keepdims=True)
        return centred * self.gamma.value * rstd[index]

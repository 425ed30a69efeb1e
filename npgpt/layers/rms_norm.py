"""Root-mean-square normalisation."""

import numpy as np

from npgpt import ops
from npgpt.layers.base import Layer
from npgpt.layers.parameter import Parameter


class RMSNorm(Layer):
    """Divide each position by its root mean square, then scale by gamma.

    ``y = gamma * x / sqrt(mean(x^2) + eps)``, over the last axis (Zhang and Sennrich 2019, arXiv
    1910.07467, eq. 4): layer normalisation without the mean and without a shift.

    Parameters
    ----------
    d_model : int
    eps : float
    dtype : dtype

    Attributes
    ----------
    gamma : Parameter, shape (d_model,), starting at 1

    Notes
    -----
    Tap: ``output``.
    """

    TAPS = ("output",)

    def __init__(self, d_model, eps=1e-5, dtype=np.float32):
        super().__init__()
        self.d_model, self.eps = d_model, eps
        self.gamma = Parameter(np.ones(d_model, dtype))

    def forward(self, x):
        """Normalise (..., d_model)."""
        self._check_last_axis(x, self.d_model, "d_model")
        y, rstd = ops.rms_norm_forward(x, self.gamma.value, self.eps)
        self.saved = x, rstd
        return self.tap("output", y)

    def backward(self, dy, dshortcut=None):
        """Add to the gradient of gamma; return that of ``x``, (..., d_model).

        ``dshortcut``, a gradient that reaches ``x`` round the norm, is added to the result.
        """
        x, rstd = self._recall()
        self._check_dy(dy, x.shape)
        dy = self.tap_grad("output", dy)
        return ops.rms_norm_backward(dy, x, rstd, self.gamma.value, self.gamma.grad, dshortcut)

    def linear_part(self, parts, index):
        """Scale the parts of one position's input; see `LayerNorm.linear_part`."""
        _, rstd = self._recall()
        return parts * self.gamma.value * rstd[index]

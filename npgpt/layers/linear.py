"""The affine map."""

import numpy as np

from npgpt import ops
from npgpt.layers.core.init import normal
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter


class Linear(Layer):
    """Affine map of the last axis: ``y = x W^T + b``.

    Parameters
    ----------
    d_in, d_out : int
    bias : bool
    std : float
        Standard deviation of the normal distribution that ``weight`` starts from; 0.02 is GPT-2's
        (Radford et al. 2019). The bias starts at 0.
    rng : numpy.random.Generator or int, optional
        Source of the initial weights.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (d_out, d_in)
    bias : Parameter, shape (d_out,), or None

    Notes
    -----
    Backward: ``dW += dy^T x``, ``db += sum of dy over rows``, ``dx = dy W``.
    """

    def __init__(self, d_in, d_out, bias=True, std=0.02, rng=None, dtype=np.float32):
        super().__init__()
        self.d_in, self.d_out = d_in, d_out
        self.weight = Parameter(normal(rng, (d_out, d_in), std, dtype))
        self.bias = Parameter(np.zeros(d_out, dtype)) if bias else None

    def forward(self, x, with_bias=True):
        """Map (..., d_in) to (..., d_out); without the bias if what follows adds it."""
        self._check_last_axis(x, self.d_in, "d_in")
        self.keep(x, with_bias)
        bias = self.bias.value if self.bias and with_bias else None
        return ops.linear_forward(x, self.weight.value, bias)

    def backward(self, dy):
        """Add to the gradients of weight and bias; return that of ``x``, (..., d_in)."""
        return self._backward(dy, *self.recall())

    def _backward(self, dy, x, with_bias):
        self._check_dy(dy, (*x.shape[:-1], self.d_out))
        dweight, overwrite = self.weight.grad_to_fill()
        dbias = self.bias.grad if self.bias and with_bias else None
        return ops.linear_backward(
            dy, x, self.weight.value, dweight=dweight, dbias=dbias, overwrite=overwrite
        )

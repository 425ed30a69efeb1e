"""Batch normalisation."""

import numpy as np

from npgpt import ops
from npgpt.layers.base import Layer
from npgpt.layers.parameter import Parameter


class BatchNorm(Layer):
    """Normalise each feature over the whole batch (Ioffe and Szegedy 2015, arXiv 1502.03167).

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, mean and variance of each feature over all
    rows while training, and running means of them in evaluation. Over sequences the rows are all
    positions of all examples: a position's output depends on later positions and on other texts,
    which a model that predicts the next token must not see. That, and small or uneven batches, is
    why sequences are normalised with `LayerNorm` or `RMSNorm` instead.

    Parameters
    ----------
    d_model : int
    eps : float
    momentum : float
        Share of a batch's statistics in the running ones.
    dtype : dtype

    Attributes
    ----------
    gamma : Parameter, shape (d_model,), starting at 1
    beta : Parameter, shape (d_model,), starting at 0
    running_mean, running_variance : ndarray, shape (d_model,)
        Starting at 0 and 1; the variance is the unbiased one. They are no parameters, so
        `state_dict` has them not.
    """

    def __init__(self, d_model, eps=1e-5, momentum=0.1, dtype=np.float32):
        super().__init__()
        self.d_model, self.eps, self.momentum = d_model, eps, momentum
        self.gamma = Parameter(np.ones(d_model, dtype))
        self.beta = Parameter(np.zeros(d_model, dtype))
        self.running_mean = np.zeros(d_model)
        self.running_variance = np.ones(d_model)

    def forward(self, x):
        """Normalise (..., d_model).

        Raises
        ------
        ValueError
            If there is only one row while training: its variance would be 0.
        """
        self._check_last_axis(x, self.d_model, "d_model")
        if not self.training:
            return self._forward_running(x)
        rows = x.size // self.d_model
        if rows < 2:
            raise ValueError(
                f"{self._where()}: statistics over rows need more than one row, got {x.shape}."
            )
        y, mean, variance = ops.batch_norm_forward(x, self.gamma.value, self.beta.value, self.eps)
        self._keep_running(mean.real, variance.real * (rows / (rows - 1)))
        self.saved = x, mean, variance
        return y

    def backward(self, dy):
        """Add to the gradients of gamma and beta; return that of ``x``, (..., d_model)."""
        x, mean, variance = self._recall()
        self._check_dy(dy, x.shape)
        if mean is None:
            return self._backward_running(dy, x)
        gamma, beta = self.gamma, self.beta
        return ops.batch_norm_backward(
            dy, x, mean, variance, gamma.value, gamma.grad, beta.grad, self.eps
        )

    # --- evaluation: the statistics are constants -------------------------------------------------

    def _forward_running(self, x):
        self.saved = x, None, None
        x_hat, _ = self._normalised(x)
        return self.gamma.value * x_hat + self.beta.value

    def _backward_running(self, dy, x):
        rows = tuple(range(dy.ndim - 1))
        x_hat, rstd = self._normalised(x)
        if self.gamma.requires_grad:
            self.gamma.grad += (dy * x_hat).sum(axis=rows)
        if self.beta.requires_grad:
            self.beta.grad += dy.sum(axis=rows)
        return dy * self.gamma.value * rstd

    def _normalised(self, x):
        rstd = (1.0 / np.sqrt(self.running_variance + self.eps)).astype(x.real.dtype)
        return (x - self.running_mean.astype(x.real.dtype)) * rstd, rstd

    def _keep_running(self, mean, variance):
        share = self.momentum
        self.running_mean = (1.0 - share) * self.running_mean + share * mean
        self.running_variance = (1.0 - share) * self.running_variance + share * variance

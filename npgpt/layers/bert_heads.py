"""What BERT puts on its encoder: a head for masked words, and the pooler."""

from __future__ import annotations

import numpy as np

from npgpt.layers.activations import ACTIVATIONS, Tanh, input_size
from npgpt.layers.block_config import BlockConfig, check_config
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import Layer
from npgpt.layers.core.parameter import Parameter
from npgpt.layers.heads import OutputHead, head_loss, head_loss_and_backward
from npgpt.layers.linear import Linear
from npgpt.layers.losses import CrossEntropy
from npgpt.layers.transformer_block import new_norm
from npgpt.ops.array import Array


class MaskedWordHead(Layer):
    """Logits of the words that were masked: a transform, then the token embedding's own table.

    ``logits = norm(activation(x W^T + b)) E^T + c`` (Devlin et al. 2018, arXiv 1810.04805, section
    3.1; the transform is in the released code). Each row is one masked position: of the others
    nobody asks.

    Parameters
    ----------
    config : BlockConfig
        Of it: ``d_model``, ``bias``, ``activation``, ``norm`` and ``layer_norm_eps``.
    vocab_size : int
    init : Init, optional
    tied_to : Parameter, optional
        As for `OutputHead`.
    """

    IN_STEPS = True

    def __init__(
        self,
        config: BlockConfig,
        vocab_size: int,
        init: Init | None = None,
        tied_to: Parameter | None = None,
    ):
        super().__init__()
        check_config(config, self)
        init = init or Init()
        d_model, activation = config.d_model, ACTIVATIONS[config.activation]()
        d_up = input_size(activation, d_model)
        self.dense = Linear(d_model, d_up, config.bias, rng=init.rng, dtype=init.dtype)
        self.activation = activation
        self.norm = new_norm(config, init)
        self.decoder = OutputHead(d_model, vocab_size, tied_to, init.rng, init.dtype, bias=True)

    def forward(self, x: Array) -> Array:
        """Map (..., d_model) to logits (..., vocab_size)."""
        return self.decoder.forward(self._transform(x))

    def backward(self, dlogits: Array) -> Array:
        """Add to all gradients inside; return that of ``x``, (..., d_model)."""
        return self._transform_backward(self.decoder.backward(dlogits))

    def cross_entropy(self, x: Array, targets: Array, loss: CrossEntropy) -> np.floating:
        """Compute the loss of the logits, a chunk of them at a time; see `head_loss`.

        Parameters
        ----------
        x : ndarray, shape (words, d_model)
        targets : ndarray of int, shape (words,)
        loss : CrossEntropy
        """
        return head_loss(self.decoder, self._transform(x), targets, loss)

    def cross_entropy_and_backward(
        self, x: Array, targets: Array, loss: CrossEntropy, dloss: float
    ) -> tuple[np.floating, Array]:
        """Compute `cross_entropy` and the gradient of ``x``; see `head_loss_and_backward`.

        Parameters
        ----------
        x, targets, loss
            As for `cross_entropy`.
        dloss : float
            Gradient of the loss.
        """
        h = self._transform(x)
        value, dh = head_loss_and_backward(self.decoder, h, targets, loss, dloss)
        return value, self._transform_backward(dh)

    def _transform(self, x: Array) -> Array:
        return self.norm.forward(self.activation.forward(self.dense.forward(x)))

    def _transform_backward(self, dh: Array) -> Array:
        return self.dense.backward(self.activation.backward(self.norm.backward(dh)))


class Pooler(Layer):
    """One row for a whole sequence, made of its first position: ``y = tanh(x_0 W^T + b)``.

    (Devlin et al. 2018, arXiv 1810.04805, section 3; the map is in the released code.)

    Parameters
    ----------
    config : BlockConfig
        Of it: ``d_model`` and ``bias``.
    init : Init, optional

    Notes
    -----
    Tap: ``output``.
    """

    TAPS = ("output",)

    def __init__(self, config: BlockConfig, init: Init | None = None):
        super().__init__()
        check_config(config, self)
        init = init or Init()
        self.d_model = config.d_model
        self.dense = Linear(self.d_model, self.d_model, config.bias, rng=init.rng, dtype=init.dtype)
        self.activation = Tanh()

    def forward(self, x: Array) -> Array:
        """Map (batch, time, d_model) to (batch, d_model)."""
        self._check_last_axis(x, self.d_model, "d_model")
        self.keep(x.shape)
        first = np.ascontiguousarray(x[:, 0])
        return self.tap("output", self.activation.forward(self.dense.forward(first)))

    def backward(self, dy: Array) -> Array:
        """Add to all gradients inside; return that of ``x``: 0 but at the first positions."""
        shape = self.recall()
        dy = self.tap_grad("output", dy)
        dfirst = self.dense.backward(self.activation.backward(dy))
        dx = np.zeros(shape, dfirst.dtype)
        dx[:, 0] = dfirst
        return dx

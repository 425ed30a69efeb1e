"""A block that trades time for memory."""

from npgpt.layers.dropout import Dropout
from npgpt.layers.transformer_block import TransformerBlock


class RecomputingBlock(TransformerBlock):
    """A `TransformerBlock` that keeps only its input for backward, which runs forward once more.

    Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): the block's own arrays, about 16
    times its input, exist only while its backward runs. All numbers are the same bit for bit;
    dropout draws the same masks, because they depend on nothing but seed, stream and step.

    Notes
    -----
    A listener hears the forward pass of the block twice.
    """

    def forward(self, x):
        """Map (batch, time, d_model) to the same shape."""
        steps = self._dropout_steps()
        y = super().forward(x)
        self.forget()
        self.saved = x, steps
        return y

    def backward(self, dy):
        """Add to all gradients inside; return that of ``x``, (batch, time, d_model)."""
        x, steps = self._recall()
        self._check_dy(dy, x.shape)
        later_steps = self._dropout_steps()
        self._set_dropout_steps(steps)
        super().forward(x)
        self._set_dropout_steps(later_steps)
        dx = super().backward(dy)
        self.forget()
        self.saved = x, steps
        return dx

    def _dropouts(self):
        return [layer for layer in self.layers() if isinstance(layer, Dropout)]

    def _dropout_steps(self):
        return [dropout.step for dropout in self._dropouts()]

    def _set_dropout_steps(self, steps):
        for dropout, step in zip(self._dropouts(), steps, strict=True):
            dropout.step = step

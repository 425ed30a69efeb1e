"""No normalisation, in the place of one."""

from npgpt import ops
from npgpt.layers.base import Layer


class NoNorm(Layer):
    """The identity, ``y = x``, with the arguments of a norm.

    It stands where a block or a model would have a norm: in models without any, and at the end of
    post-norm models, whose last block ends with a norm already.

    Notes
    -----
    Tap: ``output``.
    """

    TAPS = ("output",)

    def forward(self, x):
        """Return ``x``."""
        self.saved = x.shape
        return self.tap("output", x)

    def backward(self, dy, dshortcut=None):
        """Return ``dy``, plus the gradient that comes round the norm if there is one."""
        shape = self._recall()
        self._check_dy(dy, shape)
        dy = self.tap_grad("output", dy)
        return dy if dshortcut is None else ops.dropout_add_forward(dshortcut, dy, 0.0, None)

    def linear_part(self, parts, index):
        """Return the parts of one position's input as they are; see `LayerNorm.linear_part`."""
        return parts

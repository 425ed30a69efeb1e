"""Activations, and the table of those that a feed-forward layer may have."""

from collections.abc import Callable

from npgpt import ops
from npgpt.layers.core.layer import Layer

FORMS = {
    "tanh": ("gelu_tanh_forward", "gelu_tanh_backward"),
    "none": ("gelu_exact_forward", "gelu_exact_backward"),
}


class GELU(Layer):
    """Gaussian error linear unit, ``y = x Phi(x)`` (Hendrycks and Gimpel 2016, arXiv 1606.08415).

    Parameters
    ----------
    approximate : {"tanh", "none"}
        ``"tanh"`` is the form GPT-2 uses, ``x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``;
        ``"none"`` the exact one, with the error function. The names are PyTorch's.

    Raises
    ------
    ValueError
        If ``approximate`` is neither.
    """

    def __init__(self, approximate="tanh"):
        super().__init__()
        if approximate not in FORMS:
            raise ValueError(f"GELU: approximate must be 'tanh' or 'none', got {approximate!r}.")
        self.approximate = approximate
        self._forward_op, self._backward_op = FORMS[approximate]

    def forward(self, x, bias=None):
        """Apply to each element of ``x``, or of ``x + bias`` with the Parameter of a linear map."""
        self.keep(x, bias)
        return getattr(ops, self._forward_op)(x, bias.value if bias else None)

    def backward(self, dy):
        """Return the gradient of ``x``; add to that of ``bias``."""
        x, bias = self.recall()
        self._check_dy(dy, x.shape)
        value, grad = (bias.value, bias.grad) if bias else (None, None)
        return getattr(ops, self._backward_op)(dy, x, value, dbias=grad)


class ReLU(Layer):
    """The rectifier, ``y = max(x, 0)`` (Nair and Hinton 2010, ICML, section 2)."""

    def forward(self, x, bias=None):
        """Apply to each element of ``x``, or of ``x + bias`` with the Parameter of a linear map."""
        self.keep(x, bias)
        return ops.relu_forward(x, bias.value if bias else None)

    def backward(self, dy):
        """Return the gradient of ``x``; add to that of ``bias``."""
        x, bias = self.recall()
        self._check_dy(dy, x.shape)
        value, grad = (bias.value, bias.grad) if bias else (None, None)
        return ops.relu_backward(dy, x, value, dbias=grad)


class SwiGLU(Layer):
    """A gated linear unit, ``y = silu(gate) * up`` with ``silu(g) = g sigmoid(g)``.

    The first half of the last axis holds the gates, the second what they let through (Shazeer 2020,
    arXiv 2002.05202, eq. 5), so the output is half as wide as the input.
    """

    width = 2  # of the input, as a multiple of the output's

    def forward(self, x, bias=None):
        """Map (..., 2 d_ff), or ``x + bias`` with the Parameter of a linear map, to (..., d_ff)."""
        if x.ndim == 0 or x.shape[-1] % 2:
            raise ValueError(
                f"{self._where()}: the last axis holds gates and values, so its size must be even, "
                f"got {x.shape}."
            )
        self.keep(x, bias)
        return ops.swiglu_forward(x, bias.value if bias else None)

    def backward(self, dy):
        """Return the gradient of ``x``, (..., 2 d_ff); add to that of ``bias``."""
        x, bias = self.recall()
        self._check_dy(dy, (*x.shape[:-1], x.shape[-1] // 2))
        value, grad = (bias.value, bias.grad) if bias else (None, None)
        return ops.swiglu_backward(dy, x, value, dbias=grad)


# what makes the activation of a feed-forward layer, by the name in a config
ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "gelu": lambda: GELU("tanh"),
    "gelu_exact": lambda: GELU("none"),
    "relu": ReLU,
    "swiglu": SwiGLU,
}


def activation_width(activation):
    """How many times as wide as its output an activation's input is: 2 for a gated one."""
    return getattr(ACTIVATIONS[activation], "width", 1)


def default_d_ff(d_model, activation):
    """Width of a feed-forward layer unless another is asked for.

    ``4 * d_model`` (Vaswani et al. 2017); for a gated activation two thirds of it, rounded up to a
    multiple of 8, so that three maps have the parameters of two (Shazeer 2020).
    """
    if activation_width(activation) == 1:
        return 4 * d_model
    return -(-8 * d_model // 24) * 8

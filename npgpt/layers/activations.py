"""Activations, and the table of those that a feed-forward layer may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from npgpt import ops
from npgpt.layers.core.layer import Layer
from npgpt.ops.array import Array


class Activation(Layer):
    """Base of activations that are one pair of operations, ``y = f(x)``.

    Attributes
    ----------
    op : str
        The operations are ``ops.<op>_forward(x, bias)`` and ``ops.<op>_backward``. With a bias they
        apply to ``x + bias``, which saves `FeedForward` a pass over its widest array.
    """

    IN_STEPS = True
    op: str

    def input_size(self, output_size: int) -> int:
        """Size of the last axis of what the activation reads."""
        return output_size

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what the activation makes of an input of a shape."""
        return shape

    def forward(self, x: Array) -> Array:
        """Apply to each element of ``x``."""
        self._check_array(x)
        self.keep(x)
        return self.forward_op(x, None)

    def backward(self, dy: Array) -> Array:
        """Return the gradient of ``x``."""
        x = self.recall()
        self._check_dy(dy, self.output_shape(x.shape))
        return self.backward_op(dy, x, None, None)

    def forward_op(self, x: Array, bias: Array | None) -> Array:
        """Apply the operation to ``x + bias``.

        Parameters
        ----------
        x : ndarray, shape (..., width)
        bias : ndarray, shape (width,), or None
        """
        return getattr(ops, f"{self.op}_forward")(x, bias)

    def backward_op(self, dy: Array, x: Array, bias: Array | None, dbias: Array | None) -> Array:
        """Return the gradient of ``x``; add to that of ``bias``.

        Parameters
        ----------
        dy : ndarray
            The gradient of the output.
        x, bias
            As for `forward_op`.
        dbias : ndarray, shape (width,), or None
            Where the gradient of ``bias`` is added.
        """
        return getattr(ops, f"{self.op}_backward")(dy, x, bias, dbias=dbias)


class GELU(Activation):
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

    OPS: ClassVar[dict[str, str]] = {"tanh": "gelu_tanh", "none": "gelu_exact"}

    def __init__(self, approximate: str = "tanh"):
        super().__init__()
        if approximate not in self.OPS:
            raise ValueError(f"GELU: approximate must be 'tanh' or 'none', got {approximate!r}.")
        self.approximate, self.op = approximate, self.OPS[approximate]


class ReLU(Activation):
    """The rectifier, ``y = max(x, 0)`` (Nair and Hinton 2010, ICML, section 2)."""

    op = "relu"


class SiLU(Activation):
    """The sigmoid-weighted linear unit, ``y = x sigmoid(x)``, or swish.

    Elfwing et al. 2017, arXiv 1702.03118, eq. 5; Ramachandran et al. 2017, arXiv 1710.05941.
    """

    op = "silu"


class Tanh(Activation):
    """The hyperbolic tangent, ``y = tanh(x)``."""

    op = "tanh"


class GLU(Activation):
    """The gated linear unit, ``y = value * sigmoid(gate)``.

    The first half of the last axis holds the values, the second their gates (Dauphin et al. 2017,
    arXiv 1612.08083, eq. 1), so the output is half as wide as the input.
    """

    op = "glu"

    def input_size(self, output_size: int) -> int:
        """Twice the output's: values and gates."""
        return 2 * output_size

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the values."""
        return (*shape[:-1], shape[-1] // 2)

    def forward(self, x: Array) -> Array:
        """Map (..., 2 d_out) to (..., d_out).

        Raises
        ------
        ValueError
            If the last axis cannot be halved.
        """
        self._check_array(x)
        if x.ndim == 0 or x.shape[-1] % 2:
            raise ValueError(
                f"{self._where()}: the last axis holds values and gates, so its size must be even, "
                f"got {x.shape}."
            )
        return super().forward(x)


class SwiGLU(GLU):
    """A gated linear unit, ``y = silu(gate) * up`` with ``silu(g) = g sigmoid(g)``.

    The first half of the last axis holds the gates, the second what they let through (Shazeer 2020,
    arXiv 2002.05202, eq. 5), so the output is half as wide as the input.
    """

    op = "swiglu"


# name -> function that makes one; what is added here a config may choose
ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "gelu": lambda: GELU("tanh"),
    "gelu_exact": lambda: GELU("none"),
    "relu": ReLU,
    "silu": SiLU,
    "swiglu": SwiGLU,
}


def input_size(activation: Layer, output_size: int) -> int:
    """Size of what an activation reads, which is that of its output unless it says otherwise.

    Parameters
    ----------
    activation : Layer
    output_size : int
    """
    own = getattr(activation, "input_size", None)
    return output_size if own is None else own(output_size)


def default_d_ff(d_model: int, activation: str) -> int:
    """Width of a feed-forward layer unless another is asked for.

    ``4 * d_model`` (Vaswani et al. 2017); for a gated activation two thirds of it, rounded up to a
    multiple of 8, so that three maps have the parameters of two (Shazeer 2020).

    Parameters
    ----------
    d_model : int
    activation : str
        Of `ACTIVATIONS`.
    """
    if input_size(ACTIVATIONS[activation](), 1) == 1:
        return 4 * d_model
    return -(-8 * d_model // 24) * 8

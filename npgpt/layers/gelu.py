"""The GELU activation."""

from npgpt import ops
from npgpt.layers.base import Layer

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
        self.saved = x, bias
        return getattr(ops, self._forward_op)(x, bias.value if bias else None)

    def backward(self, dy):
        """Return the gradient of ``x``; add to that of ``bias``."""
        x, bias = self._recall()
        self._check_dy(dy, x.shape)
        value, grad = (bias.value, bias.grad) if bias else (None, None)
        return getattr(ops, self._backward_op)(dy, x, value, grad)

"""A low-rank addition to an affine map (Hu et al. 2022, arXiv 2106.09685, eq. 3)."""

from npgpt.ops.array import Array
from npgpt.ops.reference.linear import linear_backward, linear_forward

__all__ = ["low_rank_backward", "low_rank_forward"]


def low_rank_forward(x: Array, lora_a: Array, lora_b: Array, scaling: float, y: Array) -> Array:
    """Add ``scaling * x A^T B^T`` to ``y``.

    Parameters
    ----------
    x : ndarray, shape (..., d_in)
    lora_a : ndarray, shape (rank, d_in)
    lora_b : ndarray, shape (d_out, rank)
    scaling : float
    y : ndarray, shape (..., d_out)
        Added to in place.

    Returns
    -------
    ndarray, shape (..., rank)
        ``h = scaling * x A^T``, which backward needs.
    """
    h = linear_forward(x, lora_a) * x.real.dtype.type(scaling)
    y += linear_forward(h, lora_b)
    return h


def low_rank_backward(
    dy: Array, x: Array, lora_a: Array, lora_b: Array, scaling: float, h: Array, *,
    dlora_a: Array | None = None, dlora_b: Array | None = None, dshortcut: Array | None = None,
    out: Array | None = None,
) -> Array:  # fmt: skip
    """Send ``dy`` back through ``y = h B^T``, ``h = scaling * x A^T``.

    ``dB += dy^T h``, ``dh = dy B``, ``dA += scaling * dh^T x``, ``dx = scaling * dh A``.

    Parameters
    ----------
    dy : ndarray, shape (..., d_out)
    x : ndarray, shape (..., d_in)
    lora_a, lora_b : ndarray, shapes (rank, d_in), (d_out, rank)
    scaling : float
    h : ndarray, shape (..., rank)
        As forward returned it.
    dlora_a, dlora_b : ndarray, shapes of ``lora_a`` and ``lora_b``, optional
        Added to in place.
    dshortcut : ndarray, shape (..., d_in), optional
        A gradient that reaches ``x`` by another way, such as through the affine map beside it; it
        is added to the result.
    out : ndarray, shape (..., d_in), optional
        Where the result goes; may be ``dshortcut`` itself.

    Returns
    -------
    ndarray, shape (..., d_in)
        The gradient of ``x``.
    """
    dh = linear_backward(dy, h, lora_b, dweight=dlora_b)  # y += h B^T
    dh = dh * x.real.dtype.type(scaling)  # h = scaling * (x A^T)
    dx = linear_backward(dh, x, lora_a, dweight=dlora_a)
    dx = dx if dshortcut is None else dshortcut + dx
    if out is None:
        return dx
    out[...] = dx
    return out

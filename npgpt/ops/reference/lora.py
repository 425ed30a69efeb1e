"""A low-rank addition to an affine map (Hu et al. 2022, arXiv 2106.09685, eq. 3)."""

from npgpt.ops.reference.linear import linear_backward, linear_forward


def low_rank_forward(x, lora_a, lora_b, scaling, y):
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


def low_rank_backward(dy, x, h, lora_a, lora_b, scaling, dx, dlora_a, dlora_b):
    """Send ``dy`` back through ``y = h B^T``, ``h = scaling * x A^T``.

    ``dB += dy^T h``, ``dh = dy B``, ``dA += scaling * dh^T x``, ``dx += scaling * dh A``.

    Parameters
    ----------
    dy : ndarray, shape (..., d_out)
    x : ndarray, shape (..., d_in)
    h : ndarray, shape (..., rank)
        As forward returned it.
    lora_a, lora_b : ndarray, shapes (rank, d_in), (d_out, rank)
    scaling : float
    dx : ndarray, shape (..., d_in)
        Added to in place: the affine map beside it gives its part.
    dlora_a, dlora_b : ndarray, shapes of ``lora_a`` and ``lora_b``
        Added to in place; each may be None, which leaves it out.
    """
    dh = linear_backward(dy, h, lora_b, dlora_b)
    dh = dh * x.real.dtype.type(scaling)
    dx += linear_backward(dh, x, lora_a, dlora_a)

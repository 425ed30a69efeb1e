"""The affine map ``y = x W^T + b``."""

from npgpt.ops.array import Array

__all__ = ["linear_backward", "linear_forward"]


def linear_forward(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Apply the affine map ``y = x W^T + b`` to the last axis.

    Parameters
    ----------
    x : ndarray, shape (..., d_in)
    weight : ndarray, shape (d_out, d_in)
    bias : ndarray, shape (d_out,), optional

    Returns
    -------
    ndarray, shape (..., d_out)
    """
    rows = x.reshape(-1, x.shape[-1])  # (..., d_in) -> (rows, d_in): one large matrix product
    y = rows @ weight.T
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0])


def linear_backward(
    dy: Array, x: Array, weight: Array, *, dweight: Array | None = None,
    dbias: Array | None = None, overwrite: bool = False,
) -> Array:  # fmt: skip
    """Send ``dy`` back through ``y = x W^T + b``.

    ``dW += dy^T x``, ``db += sum of dy over rows``, ``dx = dy W``.

    Parameters
    ----------
    dy : ndarray, shape (..., d_out)
    x : ndarray, shape (..., d_in)
    weight : ndarray, shape (d_out, d_in)
    dweight, dbias : ndarray, shapes (d_out, d_in), (d_out,), optional
        Added to in place; a frozen parameter has none.
    overwrite : bool
        Whether ``dweight`` holds nothing yet: it is then written instead of added to.

    Returns
    -------
    ndarray, shape (..., d_in)
        The gradient of ``x``.
    """
    dy_rows = dy.reshape(-1, dy.shape[-1])  # (rows, d_out)
    x_rows = x.reshape(-1, x.shape[-1])  # (rows, d_in)
    if dweight is not None:
        if overwrite:
            dweight.fill(0)
        dweight += dy_rows.T @ x_rows
    if dbias is not None:
        dbias += dy_rows.sum(axis=0)
    return (dy_rows @ weight).reshape(x.shape)

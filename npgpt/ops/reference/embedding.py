"""Embedding: a table lookup, and the scatter that is its gradient."""

import numpy as np

from npgpt.ops.array import Array

__all__ = ["embedding_backward", "embedding_forward"]


def embedding_forward(token_ids: Array, weight: Array, rows: Array | None = None) -> Array:
    """Look up one row of the table for each id: ``y[b, t] = weight[token_ids[b, t]]``.

    Parameters
    ----------
    token_ids : ndarray of int, shape (...)
    weight : ndarray, shape (vocab_size, d_model)
    rows : ndarray, shape (time, d_model), optional
        One for each position, added to what each sequence looked up; ids then have shape
        (..., time). Their gradient is ``dy``, summed over sequences.

    Returns
    -------
    ndarray, shape (..., d_model)
    """
    y = weight[token_ids]
    return y if rows is None else y + rows


def embedding_backward(dy: Array, token_ids: Array, *, dweight: Array) -> None:
    """Add each position's gradient to the row that the position looked up.

    The lookup is a product with a one-hot matrix, ``y = onehot(ids) @ weight``, so
    ``dweight += onehot(ids).T @ dy``: an id that occurs several times sums its gradients.

    Parameters
    ----------
    dy : ndarray, shape (..., d_model)
    token_ids : ndarray of int, shape (...)
    dweight : ndarray, shape (vocab_size, d_model)
        Added to in place. Ids have no gradient, so nothing is returned.
    """
    np.add.at(dweight, token_ids, dy)  # unbuffered: repeated ids are summed, unlike dweight[ids] +=

"""Embedding: a table lookup, and the scatter that is its gradient."""

import numpy as np


def embedding_forward(token_ids, weight, positions=None):
    """Look up one row of the table for each id: ``y[b, t] = weight[token_ids[b, t]]``.

    Parameters
    ----------
    token_ids : ndarray of int, shape (...)
    weight : ndarray, shape (vocab_size, d_model)
    positions : ndarray, shape (time, d_model), optional
        Added to the rows of each sequence; ids then have shape (..., time).

    Returns
    -------
    ndarray, shape (..., d_model)
    """
    y = weight[token_ids]
    return y if positions is None else y + positions


def embedding_backward(dy, token_ids, dweight):
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

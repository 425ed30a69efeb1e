"""One vector for each text."""

from __future__ import annotations

import numpy as np

from npgpt.models.bert import Bert


def sentence_vectors(
    model: Bert, token_ids, segments=None, lengths=None, normalize: bool = True
) -> np.ndarray:
    """Compute a vector for each text: the mean of the hidden states of its tokens.

    Texts that mean much the same have vectors with a large inner product, after training that aims
    at it (Reimers and Gurevych 2019, arXiv 1908.10084, section 3).

    Parameters
    ----------
    model : Bert
    token_ids, segments, lengths
        As for `Bert.hidden_states`.
    normalize : bool
        Whether each vector is divided by its length, so that inner products are cosines.

    Returns
    -------
    ndarray, shape (batch, d_model)

    Examples
    --------
    >>> from npgpt.models import BertConfig
    >>> model = Bert(BertConfig(11, 8, n_layers=1, n_heads=2, d_model=4))
    >>> vectors = sentence_vectors(model, np.array([[1, 2, 3], [4, 5, 0]]), lengths=[3, 2])
    >>> np.allclose(np.linalg.norm(vectors, axis=1), 1.0)
    True
    """
    x = model.hidden_states(token_ids, segments, lengths)
    if lengths is None:
        lengths = np.full(len(x), x.shape[1])
        total = x.sum(axis=1)
    else:
        there = np.arange(x.shape[1]) < np.asarray(lengths)[:, None]
        total = np.einsum("btd,bt->bd", x, there.astype(x.dtype))
    if not normalize:
        return total / np.asarray(lengths, x.dtype)[:, None]
    return total / np.linalg.norm(total, axis=1, keepdims=True)  # as of the mean

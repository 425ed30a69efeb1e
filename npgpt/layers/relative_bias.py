"""T5's relative position bias."""

import numpy as np

from npgpt import ops
from npgpt.layers.base import Layer, normal
from npgpt.layers.parameter import Parameter


class RelativePositionBias(Layer):
    """A learned number for each head and bucket of distances, added to the scores.

    ``bias[h, d] = weight[bucket(d), h]`` (Raffel et al. 2020, arXiv 1910.10683, section 2.1). Far
    distances share buckets, so a model runs past the length that it was trained at.

    Parameters
    ----------
    n_heads : int
    num_buckets : int
        Half of them hold one distance each, the others grow in geometric steps.
    max_distance : int
        From here on all distances share the last bucket.
    bidirectional : bool
        Whether keys after the query have buckets of their own, half of all, as in T5's encoder.
    tied_to : Parameter, optional
        The weight of another block's bias, which this one then shares, as T5's blocks do.
    std, rng, dtype
        As for `Embedding`.

    Attributes
    ----------
    weight : Parameter, shape (num_buckets, n_heads)

    Raises
    ------
    ValueError
        If there are fewer than 2 buckets for a side, or ``max_distance`` is not beyond the exact
        ones.

    Notes
    -----
    It is an embedding of buckets, and its backward is the same scatter: distances that share a
    bucket sum their gradients.
    """

    learned = True

    def __init__(
        self, n_heads, num_buckets=32, max_distance=128, tied_to=None, std=0.02, rng=None,
        dtype=np.float32, bidirectional=False,
    ):  # fmt: skip
        super().__init__()
        one_side = num_buckets // 2 if bidirectional else num_buckets
        if one_side < 2 or max_distance <= one_side // 2:
            raise ValueError(
                "RelativePositionBias: a side needs at least 2 buckets and a max_distance above "
                f"half of them, got {one_side} and {max_distance}."
            )
        self.bidirectional = bidirectional
        self.n_heads, self.num_buckets, self.max_distance = n_heads, num_buckets, max_distance
        self.weight = tied_to or Parameter(normal(rng, (num_buckets, n_heads), std, dtype))

    def forward(self, keys, dtype=None, time=1):
        """Return the biases of distances ``1-time .. keys-1``, (n_heads, time + keys - 1)."""
        buckets = ops.relative_buckets(
            np.arange(1 - time, keys), self.num_buckets, self.max_distance, self.bidirectional
        )
        self.saved = buckets
        return ops.embedding_forward(buckets, self.weight.value).T

    def backward(self, dbias):
        """Add to the weight's gradient. Distances have no gradient: returns None."""
        buckets = self._recall()
        self._check_dy(dbias, (self.n_heads, len(buckets)))
        if self.weight.requires_grad:
            ops.embedding_backward(dbias.T, buckets, self.weight.grad)

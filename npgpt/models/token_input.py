"""What a model reads of token ids: embeddings, positions, dropout."""

from __future__ import annotations

from npgpt.layers import Dropout, Embedding, Layer, PositionEmbedding, SinusoidalEmbedding
from npgpt.ops.array import Array


class TokenInput(Layer):
    """``x = dropout(scale E[ids] + positions)``, of one side of a translation.

    Parameters
    ----------
    embedding : Embedding
        Its weight may be another side's too.
    dropout : Dropout
    scale : float
        Of the embeddings; ``sqrt(d_model)`` in Vaswani et al. 2017, section 3.4.
    positions : PositionEmbedding or SinusoidalEmbedding, optional
    """

    IN_STEPS = True
    TAPS = ("embeddings",)

    def __init__(
        self,
        embedding: Embedding,
        dropout: Dropout,
        scale: float = 1.0,
        positions: PositionEmbedding | SinusoidalEmbedding | None = None,
    ):
        super().__init__()
        self.embedding, self.dropout = embedding, dropout
        self.scale, self.positions = scale, positions

    def forward(self, token_ids: Array) -> Array:
        """Map ids, (batch, time), to (batch, time, d_model)."""
        x = self._scaled(token_ids)
        if self.positions is not None:
            x = self.positions.forward(x)
        return self.tap("embeddings", self.dropout.forward(x))

    def backward(self, dy: Array) -> None:
        """Add to the gradients of embeddings and positions. Ids have none: returns None."""
        dx = self.dropout.backward(self.tap_grad("embeddings", dy))
        if self.positions is not None:
            dx = self.positions.backward(dx)
        self.embedding.backward(dx if self.scale == 1.0 else self.scale * dx)

    def step(self, tokens: Array, places: Array) -> Array:
        """Map one id of each sequence, which stands at its own place, to (batch, 1, d_model).

        Parameters
        ----------
        tokens, places : ndarray of int, shape (batch,)
        """
        x = self._scaled(tokens)
        if self.positions is not None:
            shape = (1, int(places.max()) + 1, x.shape[-1])
            x = x + self.positions.rows_for(shape, x.dtype)[places]
        return x[:, None]

    def _scaled(self, token_ids: Array) -> Array:
        x = self.embedding.forward(token_ids)
        return x if self.scale == 1.0 else self.scale * x


def sharing(embedding: Embedding) -> Embedding:
    """Make an embedding with the table of another one, which gets the gradients of both."""
    shared = Embedding(1, embedding.d_model)
    shared.vocab_size, shared.weight = embedding.vocab_size, embedding.weight
    return shared

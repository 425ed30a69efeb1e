"""A GPT that tells to which class a text belongs."""

from __future__ import annotations

import numpy as np

from npgpt.layers import CrossEntropy, OutputHead, flatten_trained
from npgpt.models.gpt import GPT
from npgpt.models.trainable import Trainable


class GPTForClassification(Trainable):
    """A GPT whose output head is one for classes, read at each text's last token.

    ``logits = final_norm(blocks(embeddings))[last] W^T`` (Radford et al. 2018, section 3.2, without
    a start and an extract token). Under the causal mask the last token is the one that has seen all
    of the text, and what is padded behind it has no effect.

    Parameters
    ----------
    body : GPT
        Becomes a part of the classifier; its output head is replaced.
    num_classes : int
        At least 2.
    seed : int
        Of the head's initial weights.

    Raises
    ------
    ValueError
        If there are fewer than 2 classes.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> body = npgpt.GPT(npgpt.GPTConfig(11, 8, n_layers=1, n_heads=2, d_model=4))
    >>> model = GPTForClassification(body, num_classes=3)
    >>> token_ids = np.array([[1, 2, 3], [4, 5, 0]])  # the second is padded
    >>> model.forward(token_ids, lengths=np.array([3, 2])).shape
    (2, 3)
    """

    def __init__(self, body: GPT, num_classes: int, seed: int = 0):
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"GPTForClassification: there must be at least 2 classes, got {num_classes}."
            )
        self.body, self.config, self.num_classes = body, body.config, num_classes
        body.head = OutputHead(
            body.config.d_model, num_classes, rng=np.random.default_rng(seed), dtype=body.dtype
        )
        self.cross_entropy = CrossEntropy()
        self.assign_names()
        flatten_trained(self)

    def forward(self, token_ids, lengths) -> np.ndarray:
        """Compute the logits of the classes.

        Parameters
        ----------
        token_ids : ndarray of int, shape (batch, time)
            Padded at the end with any token.
        lengths : ndarray of int, shape (batch,)
            Tokens of each text, at least 1.

        Returns
        -------
        ndarray, shape (batch, num_classes)

        Raises
        ------
        ValueError
            If a length is not in ``1 .. time``, or as `GPT.forward`.
        """
        token_ids, lengths = np.asarray(token_ids), np.asarray(lengths)
        if lengths.shape != token_ids.shape[:1] or not np.all(
            (lengths >= 1) & (lengths <= token_ids.shape[1])
        ):
            raise ValueError(
                f"GPTForClassification: lengths must be in 1 to {token_ids.shape[1]}, one a text, "
                f"got {lengths.tolist()} for token ids of shape {token_ids.shape}."
            )
        x = self.body.hidden_states(token_ids)  # (batch, time, d_model)
        last = np.arange(len(lengths)), lengths - 1
        self.saved = last, x.shape
        return self.body.head.forward(x[last])  # (batch, d_model) -> (batch, num_classes)

    def loss(self, token_ids, lengths, labels) -> np.floating:
        """Compute the mean cross-entropy of the labels, in nats a text; `backward` may follow.

        Parameters
        ----------
        token_ids, lengths
            As for `forward`.
        labels : ndarray of int, shape (batch,)
        """
        return self.cross_entropy.forward(self.forward(token_ids, lengths), labels)

    def backward(self, dloss: float = 1.0) -> None:
        """Add the gradient of `loss`, times ``dloss``, to every trained parameter's ``.grad``."""
        if self.cross_entropy.saved is None:
            raise RuntimeError("GPTForClassification: backward needs a call of loss before it.")
        last, shape = self._recall()
        dlogits = self.cross_entropy.backward(dloss)
        dlast = self.body.head.backward(dlogits)  # (batch, d_model)
        dx = np.zeros(shape, dlast.dtype)
        dx[last] = dlast  # the other positions were not read
        self.body.backward_from_hidden(dx)

    def loss_and_backward(self, token_ids, lengths, labels, dloss: float = 1.0) -> np.floating:
        """Compute `loss` and do `backward`, as training does."""
        loss = self.loss(token_ids, lengths, labels)
        self.backward(dloss)
        return loss

    def evaluation_loss(self, token_ids, lengths, labels) -> np.floating:
        """Compute `loss`, when no `backward` follows."""
        return self.loss(token_ids, lengths, labels)

    def num_targets(self, token_ids, lengths, labels) -> int:
        """Count the texts."""
        return len(labels)

    def probabilities(self, token_ids, lengths) -> np.ndarray:
        """Compute each class's probability, (batch, num_classes)."""
        logits = self.forward(token_ids, lengths)
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

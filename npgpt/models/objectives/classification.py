"""A GPT that tells to which class a text belongs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npgpt import ops
from npgpt.fields import short_repr
from npgpt.layers import CrossEntropy, OutputHead, flatten_trained
from npgpt.layers.core.layer import does_as
from npgpt.layers.heads import head_loss, head_loss_and_backward
from npgpt.models.gpt import GPT
from npgpt.models.objectives.objective import Objective
from npgpt.ops import IGNORE_INDEX


class TextBatch(NamedTuple):
    """Padded token ids, (batch, time), the length and the label of each text, (batch,)."""

    token_ids: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class Read(NamedTuple):
    """What `GPTForClassification` keeps: its texts, and what the head read one position of."""

    last: tuple[np.ndarray, np.ndarray]
    x: np.ndarray
    token_ids: np.ndarray
    lengths: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class GPTForClassification(Objective):
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
    lm_coef : float
        With more than 0, ``loss`` is that of the classes plus ``lm_coef`` times the mean
        cross-entropy of the texts' own next tokens, for which the body's output head is kept
        (Radford et al. 2018, eq. 5). The model stays one of the language, and learns fewer texts
        by heart.

    Raises
    ------
    ValueError
        If there are fewer than 2 classes, or ``lm_coef`` is negative.

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

    Batch = TextBatch

    def __init__(self, body: GPT, num_classes: int, seed: int = 0, lm_coef: float = 0.0):
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"GPTForClassification: there must be at least 2 classes, got {num_classes}."
            )
        if not lm_coef >= 0.0:
            raise ValueError(f"GPTForClassification: lm_coef must be at least 0, got {lm_coef}.")
        self.body, self.config, self.num_classes = body, body.config, num_classes
        self.lm_coef, self.lm_head = lm_coef, body.head if lm_coef else None
        body.head = OutputHead(
            body.config.d_model, num_classes, rng=np.random.default_rng(seed), dtype=body.dtype
        )
        self.cross_entropy, self.lm_cross_entropy = CrossEntropy(), CrossEntropy()
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
        self.keep(Read(last, x, token_ids, lengths))
        return self.body.head.forward(x[last])  # (batch, d_model) -> (batch, num_classes)

    def loss(self, token_ids, lengths, labels) -> np.floating:
        """Compute the loss that is trained on, in nats; `backward` may follow.

        The mean cross-entropy of the labels, and with ``lm_coef`` that of the next tokens.

        Parameters
        ----------
        token_ids, lengths
            As for `forward`.
        labels : ndarray of int, shape (batch,)
        """
        loss = self.cross_entropy.forward(self.forward(token_ids, lengths), labels)
        kept = _, x, token_ids, lengths = self.recall()
        self.keep(kept)
        if lm_head := self._lm_head_for(lengths):
            targets = next_tokens(token_ids, lengths)
            loss += self.lm_coef * head_loss(lm_head, x, targets, self.lm_cross_entropy)
        return loss

    def backward(self, dloss: float = 1.0) -> None:
        """Add the gradient of `loss`, times ``dloss``, to every trained parameter's ``.grad``."""
        self._backward(dloss)

    def _backward(self, dloss: float) -> np.floating | float:
        """Do `backward`; return the mean cross-entropy of the next tokens, which it meets again."""
        if self.cross_entropy.saved is None and does_as(self.cross_entropy, CrossEntropy):
            raise RuntimeError("GPTForClassification: backward needs a call of loss before it.")
        last, x, token_ids, lengths = self.recall()
        dx = np.zeros_like(x)
        language: np.floating | float = 0.0
        if lm_head := self._lm_head_for(lengths):
            targets = next_tokens(token_ids, lengths)
            share = self.lm_coef * dloss
            language, dlanguage = head_loss_and_backward(
                lm_head, x, targets, self.lm_cross_entropy, share
            )
            dx += dlanguage
        dlogits = self.cross_entropy.backward(dloss)
        dlast = self.body.head.backward(dlogits)  # (batch, d_model)
        dx[last] = dlast  # the class is read there, and no next token predicted
        self.body.backward_from_hidden(dx)
        return language

    def loss_and_backward(self, token_ids, lengths, labels, dloss: float = 1.0) -> np.floating:
        """Compute `loss` and do `backward` in one go: the next tokens' logits are made once."""
        classes = self.evaluation_loss(token_ids, lengths, labels)
        return classes + self.lm_coef * self._backward(dloss)

    def evaluation_loss(self, token_ids, lengths, labels) -> np.floating:
        """Compute the labels' part of `loss` alone, in nats a text, for any ``lm_coef``."""
        return self.cross_entropy.forward(self.forward(token_ids, lengths), labels)

    def _lm_head_for(self, lengths):
        # texts of one token have no next ones, whose mean would be one of nothing
        return self.lm_head if lengths.max() > 1 else None

    def num_targets(self, token_ids, lengths, labels) -> int:
        """Count the texts."""
        return len(labels)

    def num_tokens(self, token_ids, lengths, labels) -> int:
        """Count the texts' tokens."""
        return int(np.sum(lengths))

    def probabilities(self, token_ids, lengths) -> np.ndarray:
        """Compute each class's probability, (batch, num_classes)."""
        return ops.softmax_forward(self.forward(token_ids, lengths))


def next_tokens(token_ids, lengths) -> np.ndarray:
    """Make each token's target, the one after it; -100 at a text's last token and behind it.

    Examples
    --------
    >>> next_tokens(np.array([[5, 6, 7], [8, 9, 0]]), np.array([3, 2])).tolist()
    [[6, 7, -100], [9, -100, -100]]
    """
    targets = np.full_like(token_ids, IGNORE_INDEX)
    targets[:, :-1] = token_ids[:, 1:]
    targets[np.arange(token_ids.shape[1]) >= lengths[:, None] - 1] = IGNORE_INDEX
    return targets

"""A BERT that tells to which class a text belongs, or each of its tokens."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from npgpt import hub, ops
from npgpt.fields import check_whole, short_repr
from npgpt.files import CONFIG
from npgpt.hub.architectures.bert import BERT, num_classes
from npgpt.layers import CrossEntropy, Dropout, Linear, Pooler, flatten_trained
from npgpt.layers.core.init import Init
from npgpt.layers.core.layer import does_as
from npgpt.models.bert import Asked, Bert
from npgpt.models.objectives.classification import TextBatch
from npgpt.models.objectives.objective import Objective
from npgpt.models.padding import Counted, checked_lengths, num_counted, num_there
from npgpt.models.pretrained import fill, read_architecture, save_pretrained
from npgpt.tokenizers import Tokenizer

C = TypeVar("C", bound="OnBert")


class OnBert(Objective):
    """Base of classifiers that are a BERT, dropout, and one linear map.

    Parameters
    ----------
    body : Bert
        Becomes a part of the classifier, which takes off the heads that it does not read.
    num_classes : int
        At least 2.
    seed : int
        Of the map's initial weights, and of dropout.
    init : Init, optional
        In the place of ``seed``.

    Raises
    ------
    ValueError
        If there are fewer than 2 classes.
    """

    READS_POOLER: ClassVar[bool]

    def __init__(self, body: Bert, num_classes: int, seed: int = 0, init: Init | None = None):
        super().__init__()
        check_whole(type(self).__name__, 2, num_classes=num_classes)
        init = init or Init(seed, body.dtype)
        self.body, self.num_classes = body, num_classes
        body.config = dataclasses.replace(
            body.config, masked_head=False, next_sentence=False, pooler=self.READS_POOLER
        )
        body.head = body.next_sentence_head = None
        if self.READS_POOLER:
            body.pooler = body.pooler or Pooler(body.config, init)
        else:
            body.pooler = None
        self.config = body.config
        stream = 1 + max(d.stream for d in body.layers() if isinstance(d, Dropout))
        self.dropout = Dropout(body.config.dropout, init.seed, stream)
        self.classifier = Linear(body.config.d_model, num_classes, rng=init.rng, dtype=init.dtype)
        self.cross_entropy = CrossEntropy()
        self.assign_names()
        flatten_trained(self)

    @classmethod
    def from_pretrained(
        cls: type[C],
        name_or_folder: str | Path,
        dtype: Any = np.float32,
        revision: str | None = None,
    ) -> C:
        """Load a classifier in Hugging Face's format, ready to be used.

        Parameters
        ----------
        name_or_folder, dtype, revision
            As for `Bert.from_pretrained`; a dtype of floating point.

        Raises
        ------
        FileNotFoundError, ValueError, RuntimeError
            As there; ValueError too if the folder holds a BERT without a classifier.
        """
        folder = hub.fetch(name_or_folder, revision)
        files = hub.TensorFiles(folder)
        architecture, config = read_architecture(folder, files, dtype)
        if not isinstance(architecture, BERT):
            raise ValueError(f"{folder} holds a {architecture.name}, not a BERT.")
        if not any(name.endswith("classifier.weight") for name in files.shapes):
            raise ValueError(
                f"{folder} has no classifier.weight: it is a BERT without a classifier; "
                f"{cls.__name__}(Bert.from_pretrained({str(name_or_folder)!r}), num_classes) makes "
                "one that is to be trained."
            )
        count = num_classes(hub.read_json(folder / CONFIG), str(folder / CONFIG))
        of_heads = {"masked_head": False, "next_sentence": False, "pooler": cls.READS_POOLER}
        fields = {**config.to_dict(), **of_heads, **cls._of_files(count)}
        weights = hub.match_weights(architecture, fields, files.shapes, str(folder))
        init = Init(dtype=dtype, fill=False)
        return fill(cls(Bert(config, init=init), count, init=init), weights, files)

    def save_pretrained(
        self,
        folder: str | Path,
        tokenizer: Tokenizer | None = None,
        shard_size: int = hub.SHARD,
        overwrite: bool = False,
    ) -> None:
        """Write the classifier as transformers' class of the same name loads it.

        Parameters
        ----------
        folder, tokenizer, shard_size, overwrite
            As for `Bert.save_pretrained`.
        """
        save_pretrained(
            self, folder, tokenizer, shard_size, overwrite, **self._of_files(self.num_classes)
        )

    @classmethod
    def _of_files(cls, count: int) -> dict[str, Any]:
        """Return what tells files that the model is a classifier."""
        return {"num_classes": count, "of_tokens": not cls.READS_POOLER}

    @property
    def dtype(self) -> np.dtype:
        """Of the parameters."""
        return self.body.dtype

    def astype(self, dtype):
        """Convert every parameter to a dtype; returns the model."""
        super().astype(dtype)
        self.body.dtype = np.dtype(dtype)
        flatten_trained(self)
        return self

    def backward(self, dloss: float = 1.0) -> None:
        """Add the gradient of `loss`, times ``dloss``, to every trained parameter's ``.grad``."""
        if self.cross_entropy.saved is None and does_as(self.cross_entropy, CrossEntropy):
            raise RuntimeError(f"{type(self).__name__}: backward needs a call of loss before it.")
        dlogits = self.cross_entropy.backward(dloss)
        self._backward(self.dropout.backward(self.classifier.backward(dlogits)))

    def _backward(self, drows: np.ndarray) -> None:
        """Send the gradient of what dropout read back."""
        raise TypeError(f"{type(self).__name__} has no _backward; a classifier must define it.")


class BertForClassification(OnBert):
    """A BERT that tells the class of a text, or of a pair of them, from its first position.

    ``logits = dropout(pooler(x)) W^T + b`` (Devlin et al. 2018, arXiv 1810.04805, section 4.1).

    Parameters
    ----------
    body, num_classes, seed, init
        As of `OnBert`; without a pooler it gets a new one.

    Examples
    --------
    >>> from npgpt.models import Bert, BertConfig
    >>> body = Bert(BertConfig(11, 8, n_layers=1, n_heads=2, d_model=4))
    >>> model = BertForClassification(body, num_classes=3)
    >>> token_ids = np.array([[1, 2, 3], [4, 5, 0]])  # the second is padded
    >>> model.forward(token_ids, lengths=np.array([3, 2])).shape
    (2, 3)
    """

    READS_POOLER = True
    Batch = TextBatch

    def forward(self, token_ids, lengths=None, segments=None) -> np.ndarray:
        """Compute the logits of the classes.

        Parameters
        ----------
        token_ids, lengths, segments
            As for `Bert.hidden_states`.

        Returns
        -------
        ndarray, shape (batch, num_classes)
        """
        x = self.body.hidden_states(token_ids, segments, lengths)
        return self.classifier.forward(self.dropout.forward(self.body.pooler.forward(x)))

    def loss(self, token_ids, lengths, labels, segments=None) -> np.floating:
        """Compute the mean cross-entropy of the labels, in nats; `backward` may follow.

        Parameters
        ----------
        token_ids, lengths, segments
            As for `Bert.hidden_states`.
        labels : ndarray of int, shape (batch,)
        """
        return self.cross_entropy.forward(self.forward(token_ids, lengths, segments), labels)

    def _backward(self, drows: np.ndarray) -> None:
        self.body.backward_from_hidden(self.body.pooler.backward(drows))

    def num_targets(self, token_ids, lengths, labels, segments=None) -> int:
        """Count the texts."""
        return len(labels)

    def num_tokens(self, token_ids, lengths, labels, segments=None) -> int:
        """Count the texts' tokens."""
        return num_there(token_ids, lengths)

    def probabilities(self, token_ids, lengths=None, segments=None) -> np.ndarray:
        """Compute each class's probability, (batch, num_classes)."""
        return ops.softmax_forward(self.forward(token_ids, lengths, segments))


class LabelledTokens(NamedTuple):
    """Padded token ids, the length of each text, and a label for each token; -100 has none."""

    token_ids: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class BertForTokenClassification(OnBert):
    """A BERT that tells the class of each token, such as the kind of name that it is a part of.

    ``logits = dropout(x) W^T + b`` at each position (Devlin et al. 2018, arXiv 1810.04805, section
    5.3). Only tokens with a label go through the map in training.

    Parameters
    ----------
    body, num_classes, seed, init
        As of `OnBert`.
    """

    READS_POOLER = False
    Batch = LabelledTokens

    def forward(self, token_ids, lengths=None, segments=None) -> np.ndarray:
        """Compute the logits of the classes of each token.

        Parameters
        ----------
        token_ids, lengths, segments
            As for `Bert.hidden_states`.

        Returns
        -------
        ndarray, shape (batch, time, num_classes)
        """
        x = self.body.hidden_states(token_ids, segments, lengths)
        return self.classifier.forward(self.dropout.forward(x))

    def loss(self, token_ids, lengths, labels, segments=None) -> np.floating:
        """Compute the mean cross-entropy of the labels, in nats; `backward` may follow.

        Parameters
        ----------
        token_ids, lengths, segments
            As for `Bert.hidden_states`.
        labels : ndarray of int, shape (batch, time)
            -100 where a token has none; in padded places it does not matter.
        """
        x = self.body.hidden_states(token_ids, segments, lengths)
        lengths = checked_lengths(lengths, x.shape[:2], type(self).__name__)
        counted = Counted.of(labels, lengths, (*x.shape[:2], self.num_classes), self.cross_entropy)
        self.keep(Asked(x.shape, counted))
        logits = self.classifier.forward(self.dropout.forward(counted.rows(x)))
        return self.cross_entropy.forward(logits, counted.targets)

    def _backward(self, drows: np.ndarray) -> None:
        shape, counted = self.recall()
        self.body.backward_from_hidden(counted.rows_backward(drows, shape))

    def num_targets(self, token_ids, lengths, labels, segments=None) -> int:
        """Count the tokens that have a label."""
        return num_counted(labels, lengths, self.cross_entropy)

    def num_tokens(self, token_ids, lengths, labels, segments=None) -> int:
        """Count the texts' tokens."""
        return num_there(token_ids, lengths)

    def probabilities(self, token_ids, lengths=None, segments=None) -> np.ndarray:
        """Compute each class's probability, (batch, time, num_classes)."""
        return ops.softmax_forward(self.forward(token_ids, lengths, segments))

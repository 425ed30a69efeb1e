"""Labelled texts: read, split, encoded; and how well they are told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from npgpt.data.docstrings import package_records
from npgpt.data.held_out import HeldOutBatches
from npgpt.data.left_out import LeftOut
from npgpt.data.records import Record, name_field, text_field
from npgpt.data.sequences import LabelledTexts
from npgpt.data.splits import TEST, TRAIN, VALIDATION
from npgpt.fields import ShortRepr
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.splitting import is_built_in, open_records, split_records
from npgpt.models.objectives.classification import GPTForClassification
from npgpt.tokenizers import Tokenizer


def read_labelled(
    config: FineTuningConfig, left_out: LeftOut
) -> tuple[dict[str, list[Record]], list[str]]:
    """Read the records of a classification, check them, and split them.

    Parts are those of `split_records`, with each class divided by itself. A text is kept exactly,
    of a label the white space around it does not count.

    Returns
    -------
    records : dict of str to list of Record
        By part.
    labels : list of str
        Of the training part, sorted.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a column is missing, there is one class only, or a label of another part does not occur
        in training; with the row.
    """
    text, label, split = config.text_column, config.label_column, config.split_column
    if is_built_in(config):
        text, label, split = "text", "label", "split"
    records = open_records(config, package_records, [text, label])
    parts = split_records(config, records, [text, label], left_out, label, split)
    labels = sorted({name_field(record, label) for record in parts[TRAIN]})
    if len(labels) < 2:
        raise ValueError(
            f"{config.data}: every record to train on has the label {labels[0]!r}; a classifier "
            "needs at least two labels."
        )
    for part in (VALIDATION, TEST):
        for record in parts[part]:
            if name_field(record, label) not in labels:
                raise ValueError(
                    f"{record.where}: the label {name_field(record, label)!r} of the {part} part "
                    f"does not occur in training (there is {', '.join(labels)})."
                )
    found = {
        part: [
            Record(r.where, {"text": text_field(r, text), "label": name_field(r, label)})
            for r in records
        ]
        for part, records in parts.items()
    }
    return found, labels


def encode_labelled(
    records: Sequence[Record], labels: Sequence[str], tokenizer: Tokenizer, context_length: int
) -> LabelledTexts:
    """Encode texts, cut off at the context's end."""
    number = {label: i for i, label in enumerate(labels)}
    texts = [encode_text(record.fields["text"], tokenizer, context_length) for record in records]
    return LabelledTexts(texts, [number[record.fields["label"]] for record in records])


def encode_text(text: str, tokenizer: Tokenizer, context_length: int) -> np.ndarray:
    """Encode one text to classify, as it is; it must not be empty."""
    ids = tokenizer.encode(text)[:context_length]
    if not text.strip() or not len(ids):
        raise ValueError("There is no text to classify.")
    return ids


def predict(
    model: GPTForClassification, texts: LabelledTexts, batch_size: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Compute probabilities (texts, num_classes) of all texts without dropout; and labels."""
    by_length = np.argsort(texts.lengths, kind="stable")
    probabilities = np.empty((len(texts), model.num_classes))
    with model.evaluating():
        for begin in range(0, len(texts), batch_size):
            chosen = by_length[begin : begin + batch_size]
            token_ids, lengths, _ = texts.batch(chosen)
            probabilities[chosen] = model.probabilities(token_ids, lengths)
    return probabilities, texts.labels


@dataclasses.dataclass(frozen=True, repr=False)
class ClassificationReport(ShortRepr):
    """How well classes are told apart.

    Attributes
    ----------
    labels : list of str
    confusion : ndarray of int, shape (classes, classes)
        Rows are true classes, columns predicted ones.
    """

    labels: list[str]
    confusion: np.ndarray

    @classmethod
    def of(
        cls, probabilities: np.ndarray, true: np.ndarray, labels: Sequence[str]
    ) -> ClassificationReport:
        """Count, taking the likeliest class of each text."""
        confusion = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(confusion, (true, probabilities.argmax(axis=-1)), 1)
        return cls(list(labels), confusion)

    @property
    def accuracy(self) -> float:
        """Share of texts whose likeliest class is theirs."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def precision(self) -> np.ndarray:
        """Of the texts put into each class, the share that belongs there; 0 if none was."""
        return np.diag(self.confusion) / np.maximum(self.confusion.sum(axis=0), 1)

    @property
    def recall(self) -> np.ndarray:
        """Of the texts of each class, the share that was put there."""
        return np.diag(self.confusion) / np.maximum(self.confusion.sum(axis=1), 1)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall; 0 if both are."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / np.where(both > 0, both, 1)


def held_out_batches(texts: LabelledTexts, batch_size: int) -> HeldOutBatches:
    """Cut labelled texts into batches of similar length, so that little is padded."""
    order = np.argsort(texts.lengths, kind="stable")
    ordered = LabelledTexts([texts.texts[i] for i in order], texts.labels[order])
    return HeldOutBatches(ordered, batch_size)

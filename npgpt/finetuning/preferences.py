"""Pairs of a chosen and a rejected response."""

from __future__ import annotations

import numpy as np

from npgpt.data.records import Record, read_records
from npgpt.data.sequences import PreferencePairs
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.instructions import encode_responses
from npgpt.finetuning.splitting import split_records
from npgpt.models.preference import GPTForPreference
from npgpt.tokenizers import Tokenizer

NEEDED = ("instruction", "chosen", "rejected")


def read_preferences(config: FineTuningConfig) -> dict[str, list[Record]]:
    """Read records with ``instruction``, optional ``input``, ``chosen`` and ``rejected``.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a field is missing or empty, or both responses are the same; with the row.
    """
    records = read_records(config.data, NEEDED)
    parts = split_records(config, records, NEEDED)
    for members in parts.values():
        for record in members:
            if record.fields["chosen"].strip() == record.fields["rejected"].strip():
                raise ValueError(
                    f"{record.where}: the chosen and the rejected response are the same."
                )
    return parts


def encode_preferences(
    records: list[Record], template: str, tokenizer: Tokenizer, context_length: int
) -> PreferencePairs:
    """Encode both responses of each record, behind the same prompt."""
    chosen, rejected = (
        encode_responses(records, template, tokenizer, context_length, output=side)
        for side in ("chosen", "rejected")
    )
    return PreferencePairs(chosen, rejected)


def with_reference(
    model: GPTForPreference, pairs: PreferencePairs, batch_size: int = 8
) -> PreferencePairs:
    """Compute the log-probabilities of the model as it is now, without dropout.

    Done once, before the first step: the reference does not change.
    """
    was_training = model.training
    model.eval()
    reference = np.empty((len(pairs), 2))
    for begin in range(0, len(pairs), batch_size):
        indices = np.arange(begin, min(begin + batch_size, len(pairs)))
        inputs, targets, _ = pairs.batch(indices)
        reference[indices] = model.log_probabilities(inputs, targets).reshape(2, -1).T
    model.train(was_training)
    return PreferencePairs(pairs.chosen, pairs.rejected, reference)


def reward_accuracy(model: GPTForPreference, pairs: PreferencePairs, batch_size: int = 8) -> float:
    """Compute the share of pairs whose chosen response has the higher reward."""
    was_training = model.training
    model.eval()
    margins = [
        model.forward(*pairs.batch(np.arange(begin, min(begin + batch_size, len(pairs)))))
        for begin in range(0, len(pairs), batch_size)
    ]
    model.train(was_training)
    return float(np.mean(np.concatenate(margins) > 0.0))

"""Pairs of a chosen and a rejected response."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from npgpt import ops
from npgpt.data.docstrings import preference_records
from npgpt.data.left_out import LeftOut
from npgpt.data.records import Record
from npgpt.data.sequences import PreferencePairs
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.instructions import encode_responses, response_of
from npgpt.finetuning.splitting import Keep, open_records, split_records
from npgpt.models.objectives.preference import GPTForPreference
from npgpt.tokenizers import Tokenizer

NEEDED = ("instruction", "chosen", "rejected")


def read_preferences(
    config: FineTuningConfig, left_out: LeftOut, keep: Keep = list
) -> dict[str, list[Record]]:
    """Read records with ``instruction``, optional ``input``, ``chosen`` and ``rejected``.

    Those in which both responses are the same are left out, as are those that `split_records`
    leaves out.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a field is missing; with the row.
    """
    records = open_records(config, preference_records, NEEDED)
    return split_records(
        config, records, NEEDED, left_out, keep=lambda r: _with_a_difference(keep(r), left_out)
    )


def _with_a_difference(records: list[Record], left_out: LeftOut) -> list[Record]:
    kept = []
    for record in records:
        if response_of(record, "chosen") == response_of(record, "rejected"):
            left_out.add(record, "the chosen and the rejected response are the same")
        else:
            kept.append(record)
    return kept


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
    reference = np.empty((len(pairs), 2))
    with model.evaluating(), ops.Workspace():
        for indices in _by_length(pairs, batch_size):
            inputs, targets, _ = pairs.batch(indices)
            reference[indices] = model.log_probabilities(inputs, targets).reshape(2, -1).T
    return PreferencePairs(pairs.chosen, pairs.rejected, reference)


@dataclasses.dataclass(frozen=True)
class PreferenceScores:
    """How a model orders pairs, as means over them.

    Attributes
    ----------
    loss : float
        ``-log sigmoid(margin)``; log 2 for the reference itself.
    chosen_reward, rejected_reward : float
    chosen_log_p, rejected_log_p : float
        Log-probabilities of the responses.
    reward_accuracy : float
        Share of pairs whose chosen response has the higher reward. The rewards of the reference
        itself are all 0, so it has none right.
    ranking_accuracy : float
        Share of pairs whose chosen response is the more probable one, which can also be told of
        the reference.
    """

    loss: float
    chosen_reward: float
    rejected_reward: float
    chosen_log_p: float
    rejected_log_p: float
    reward_accuracy: float
    ranking_accuracy: float

    @property
    def margin(self) -> float:
        """How much higher the rewards of the chosen responses are."""
        return self.chosen_reward - self.rejected_reward

    def to_metrics(self) -> dict[str, float]:
        """Return the numbers by the names that TRL's DPOTrainer logs them by."""
        return {
            "rewards/chosen": self.chosen_reward,
            "rewards/rejected": self.rejected_reward,
            "rewards/accuracies": self.reward_accuracy,
            "rewards/margins": self.margin,
            "logps/chosen": self.chosen_log_p,
            "logps/rejected": self.rejected_log_p,
        }


def score_preferences(
    model: GPTForPreference, pairs: PreferencePairs, batch_size: int = 8
) -> PreferenceScores:
    """Compare a model with the reference whose log-probabilities the pairs hold."""
    parts = []
    with model.evaluating(), ops.Workspace():
        for indices in _by_length(pairs, batch_size):
            inputs, targets, reference = pairs.batch(indices)
            log_p = model.log_probabilities(inputs, targets)
            parts.append(np.stack([log_p, model.rewards(log_p, reference)]).reshape(2, 2, -1))
    log_p, rewards = np.concatenate(parts, axis=-1).astype(float)  # each (2, pairs)
    return PreferenceScores(
        loss=float(ops.preference_loss_forward(rewards[0] - rewards[1])),
        chosen_reward=float(rewards[0].mean()),
        rejected_reward=float(rewards[1].mean()),
        chosen_log_p=float(log_p[0].mean()),
        rejected_log_p=float(log_p[1].mean()),
        reward_accuracy=float(np.mean(rewards[0] > rewards[1])),
        ranking_accuracy=float(np.mean(log_p[0] > log_p[1])),
    )


def _by_length(pairs: PreferencePairs, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the indices of batches in which little is padded."""
    order = np.argsort(pairs.lengths, kind="stable")
    for begin in range(0, len(order), batch_size):
        yield order[begin : begin + batch_size]

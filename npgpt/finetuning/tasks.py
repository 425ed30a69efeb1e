"""What differs between the tasks: data, order of the examples, and scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from npgpt.data.held_out import HeldOutBatches
from npgpt.data.left_out import LeftOut
from npgpt.data.records import Record
from npgpt.data.samplers import Balanced, LengthGrouped, Sampler
from npgpt.data.splits import TEST, TRAIN, VALIDATION
from npgpt.finetuning.classification import (
    ClassificationReport,
    encode_labelled,
    held_out_batches,
    predict,
    read_labelled,
)
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.instructions import encode_responses, read_instructions, with_room
from npgpt.finetuning.preferences import (
    encode_preferences,
    read_preferences,
    score_preferences,
    with_reference,
)
from npgpt.finetuning.splitting import Keep
from npgpt.models import GPT, GPTForClassification, GPTForPreference, Model
from npgpt.tokenizers import Tokenizer

M = TypeVar("M", bound=Model)


class Task(Generic[M]):
    """The data of a fine-tuning, in parts.

    Attributes
    ----------
    records : dict of str to list of Record
        By part: train, validation (what is held out), test.
    labels : list of str
        Of a classification.
    parts : dict of str to Dataset
        The records, encoded.
    train : Dataset
        The part whose gradients are taken.
    left_out : LeftOut
        Records that nothing can be learned from.
    """

    records: dict[str, list[Record]]
    labels: list[str]
    parts: dict[str, Any]
    left_out: LeftOut

    @property
    def train(self) -> Any:
        """The part whose gradients are taken."""
        return self.parts[TRAIN]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the records, in hexadecimal."""
        content = {
            part: [[r.where, r.fields] for r in records] for part, records in self.records.items()
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def prepare(self, model: M) -> None:
        """Compute what is needed of the model before its first step."""

    def sampler(self, batch_size: int) -> Sampler:
        """Put training examples of similar length into a batch, so that little is padded."""
        return LengthGrouped(self.train.lengths, batch_size)

    def held_out(self, batch_size: int) -> HeldOutBatches:
        """Cut the held-out part into batches."""
        return HeldOutBatches(self.parts[VALIDATION], batch_size)

    def scores(self, model: M) -> dict[str, float]:
        """Compute numbers on the held-out part, beside the loss."""
        return {}


class ClassifyTask(Task[GPTForClassification]):
    """Texts and their classes."""

    def __init__(
        self,
        config: FineTuningConfig,
        tokenizer: Tokenizer,
        context_length: int,
        labels: list[str] | None = None,
    ):
        self.left_out = LeftOut(config.strict)
        self.records, found = read_labelled(config, self.left_out)
        self.labels = labels or found
        self.parts = {
            part: encode_labelled(records, self.labels, tokenizer, context_length)
            for part, records in self.records.items()
        }

    def sampler(self, batch_size: int) -> Sampler:
        """Draw every class equally often, and put texts of similar length together."""
        return LengthGrouped(self.train.lengths, batch_size, Balanced(self.train.labels))

    def held_out(self, batch_size: int) -> HeldOutBatches:
        """Cut the held-out part into batches of similar length."""
        return held_out_batches(self.parts[VALIDATION], batch_size)

    def scores(self, model: GPTForClassification) -> dict[str, float]:
        """Share of the held-out texts whose likeliest class is theirs."""
        return {"accuracy": self.report(model, VALIDATION).accuracy}

    def report(self, model: GPTForClassification, part: str = TEST) -> ClassificationReport:
        """Compare predicted and true classes of a part, the test part unless another is named."""
        return ClassificationReport.of(*predict(model, self.parts[part]), self.labels)


class PromptTask(Task[M]):
    """Prompts, and what comes after them."""

    def __init__(
        self,
        read: Callable[[FineTuningConfig, LeftOut, Keep], dict[str, list[Record]]],
        config: FineTuningConfig,
        tokenizer: Tokenizer,
        context_length: int,
    ):
        self.left_out, self.labels = LeftOut(config.strict), []

        def keep(records: Sequence[Record]) -> list[Record]:
            return with_room(records, config.template, tokenizer, context_length, self.left_out)

        self.records = read(config, self.left_out, keep)


class InstructTask(PromptTask[GPT]):
    """Prompts and responses."""

    def __init__(self, config: FineTuningConfig, tokenizer: Tokenizer, context_length: int):
        super().__init__(read_instructions, config, tokenizer, context_length)
        self.parts = {
            part: encode_responses(
                records,
                config.template,
                tokenizer,
                context_length,
                # a loss over prompts too would not be comparable
                mask_prompt=config.mask_prompt or part != TRAIN,
            )
            for part, records in self.records.items()
        }
        if config.packing:
            self.parts[TRAIN] = self.parts[TRAIN].packed(context_length)


class PreferenceTask(PromptTask[GPTForPreference]):
    """Chosen and rejected responses."""

    def __init__(self, config: FineTuningConfig, tokenizer: Tokenizer, context_length: int):
        super().__init__(read_preferences, config, tokenizer, context_length)
        self.parts = {
            part: encode_preferences(records, config.template, tokenizer, context_length)
            for part, records in self.records.items()
        }

    def prepare(self, model: GPTForPreference) -> None:
        """Compute the log-probabilities of the reference: the model before its first step."""
        self.parts = {part: with_reference(model, pairs) for part, pairs in self.parts.items()}

    def scores(self, model: GPTForPreference) -> dict[str, float]:
        """Compute rewards and how often they are in the right order."""
        return score_preferences(model, self.parts[VALIDATION]).to_metrics()


def make_task(
    config: FineTuningConfig,
    tokenizer: Tokenizer,
    context_length: int,
    labels: list[str] | None = None,
) -> Task:
    """Read, check and encode the data of a task, and log what was left out of it."""
    task: Task
    if config.task == "classify":
        task = ClassifyTask(config, tokenizer, context_length, labels)
    else:
        kind = InstructTask if config.task == "instruct" else PreferenceTask
        task = kind(config, tokenizer, context_length)
    task.left_out.tell()
    return task

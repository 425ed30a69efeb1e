"""A fine-tuning run: the folder with what it began from, its checkpoints and its metrics."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npgpt import tokenizers
from npgpt.data import DataLoader
from npgpt.data.splits import TEST
from npgpt.finetuning.adapters import save_adapter
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.freezing import train_last_block
from npgpt.finetuning.lora import apply_lora, merge_lora
from npgpt.finetuning.preferences import PreferenceScores, score_preferences, with_reference
from npgpt.finetuning.tasks import Task, make_task
from npgpt.layers.core.init import Init
from npgpt.models import GPT, GPTConfig, GPTForClassification, GPTForPreference, Trainable
from npgpt.optim import AdamW, WarmupCosine
from npgpt.runs.folder import CONFIG, read_settings, refuse_used, write_settings
from npgpt.runs.open import open_model
from npgpt.runs.pretraining import CHECKPOINTS, METRICS, TOKENIZER
from npgpt.tokenizers import Tokenizer
from npgpt.training.callbacks import Callback
from npgpt.training.checkpoints import load_checkpoint, save_checkpoint, without_prefix
from npgpt.training.metrics import MetricsLog, read_metrics
from npgpt.training.trainer import Trainer

ADAPTER = "adapter"
BASE = "base.safetensors"  # the weights that the run begins with


@dataclasses.dataclass
class FineTuningRun:
    """A folder that `npgpt finetune` made: it needs neither the base model nor anything else.

    Attributes
    ----------
    folder : Path
    config : FineTuningConfig
    model_config : GPTConfig
    tokenizer : Tokenizer
    labels : list of str
        Of a classification.
    data_fingerprint : str
        SHA-256 of the records, so that a resumed run cannot go on with others.
    """

    folder: Path
    config: FineTuningConfig
    model_config: GPTConfig
    tokenizer: Tokenizer
    labels: list[str]
    data_fingerprint: str

    @classmethod
    def create(cls, folder: str | Path, config: FineTuningConfig) -> FineTuningRun:
        """Open the base, read and check the data, and make the folder; or write nothing.

        Raises
        ------
        FileExistsError
            If the folder holds something.
        FileNotFoundError, ValueError
            If the base model or the data cannot be read, or do not fit each other.
        """
        folder = Path(folder)
        refuse_used(folder)
        config = dataclasses.replace(
            config,
            base=_absolute(config.base),
            data=_absolute(config.data),
            test_data=_absolute(config.test_data) if config.test_data else None,
        )
        opened = open_model(config.base)
        model, model_config = opened.model, opened.model.config
        if config.dropout is not None:
            model_config = dataclasses.replace(model_config, dropout=config.dropout)
        if config.from_scratch:
            model = GPT(model_config, seed=config.seed)
        task = make_task(config, opened.tokenizer, model_config.context_length)
        run = cls(
            folder,
            config,
            model_config,
            opened.tokenizer,
            task.labels,
            _fingerprint(task),
        )
        run.task = task
        folder.mkdir(parents=True, exist_ok=True)
        opened.tokenizer.save(folder / TOKENIZER)
        save_checkpoint(folder / BASE, model.state_dict(), {})
        settings = {
            "finetuning": config.to_dict(),
            "model": run.model_config.to_dict(),
            "labels": run.labels,
            "data_fingerprint": run.data_fingerprint,
        }
        write_settings(folder, settings)
        return run

    @classmethod
    def open(cls, folder: str | Path) -> FineTuningRun:
        """Find the run in a folder.

        Raises
        ------
        FileNotFoundError
            If there is no fine-tuning run.
        ValueError
            If its config or tokenizer is damaged.
        """
        folder = Path(folder)
        settings = read_settings(folder)
        if "finetuning" not in settings:
            raise ValueError(
                f"{folder} is not a fine-tuned model; npgpt finetune makes one from it."
            )
        try:
            return cls(
                folder,
                FineTuningConfig.from_dict(settings["finetuning"]),
                GPTConfig.from_dict(settings["model"]),
                tokenizers.load(folder / TOKENIZER),
                list(settings["labels"]),
                settings["data_fingerprint"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder / CONFIG} is not a whole run config ({error}).") from None

    @functools.cached_property
    def task(self) -> Task:
        """The data; read when first asked for."""
        task = make_task(self.config, self.tokenizer, self.model_config.context_length, self.labels)
        if _fingerprint(task) != self.data_fingerprint:
            raise ValueError(
                f"The records of {self.config.data} are not those that {self.folder} was begun "
                "with: their SHA-256 differs."
            )
        return task

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        return read_metrics(self.folder / METRICS)

    def new_model(self) -> Trainable:
        """Make the model with the weights of the base, and freeze what is not trained."""
        gpt, config = self.base_model(), self.config
        if config.method == "lora":
            apply_lora(gpt, config.lora, config.seed)
        elif config.method == "last-block":
            train_last_block(gpt)
        return wrapped(gpt, config, len(self.labels))

    def load_model(self, checkpoint: str = "best") -> Trainable:
        """Make the model with the weights of a checkpoint, low-rank additions merged.

        Parameters
        ----------
        checkpoint : {"best", "last"}

        Returns
        -------
        GPT or GPTForClassification
            Ready to use.
        """
        model = self._load(checkpoint)
        if self.config.method == "lora":
            merge_lora(model)
        return getattr(model, "policy", model).eval()

    def load_gpt(self, checkpoint: str = "best") -> GPT:
        """Make a model that writes text with the weights of a checkpoint; see `load_model`.

        Raises
        ------
        ValueError
            If the run makes a classifier.
        """
        model = self.load_model(checkpoint)
        if not isinstance(model, GPT):
            raise ValueError(
                f"{self.folder} is a classifier, which writes no text; npgpt classify asks it for "
                "classes."
            )
        return model

    def _load(self, checkpoint: str = "best") -> Trainable:
        """Make the model as it is trained, with the weights of a checkpoint."""
        path = self.folder / CHECKPOINTS[checkpoint]
        arrays, _ = load_checkpoint(path)
        model = self.new_model()
        try:
            model.load_trained_state_dict(without_prefix("model", arrays))
        except ValueError as error:
            raise ValueError(f"{path} does not fit the run's config: {error}") from None
        return model

    def base_model(self) -> GPT:
        """Make the model that the run began with."""
        gpt = GPT(self.model_config, init=Init(self.config.seed, fill=False))
        gpt.load_state_dict(load_checkpoint(self.folder / BASE)[0])
        return gpt.eval()

    def save_adapter(self) -> None:
        """Write the best low-rank additions to the folder ``adapter``, in PEFT's format."""
        model = self._load()
        model = getattr(model, "policy", model)
        save_adapter(model, self.folder / ADAPTER, self.config.base, self.config.lora_dropout)

    def test_preferences(self) -> tuple[PreferenceScores, PreferenceScores]:
        """Score the test pairs of a preference run: by the model it began with, and by its best."""
        base = GPTForPreference(self.base_model(), self.config.beta)
        pairs = with_reference(base, self.task.parts[TEST])
        tuned = self._load()
        return score_preferences(base, pairs), score_preferences(tuned, pairs)  # type: ignore[arg-type]

    def trainer(self, callbacks: Sequence[Callback] = ()) -> Trainer:
        """Make the trainer of this run, at its first step; ``resume()`` takes up a checkpoint."""
        config, model = self.config, self.new_model()
        self.task.prepare(model)
        loader = DataLoader(
            self.task.train,
            config.batch_size,
            shuffle=True,
            seed=config.seed,
            sampler=self.task.sampler(config.batch_size),
        )
        steps = max(1, config.epochs * len(loader) // config.grad_accumulation)
        return Trainer(
            model,
            loader,
            self.task.held_out(config.batch_size),
            steps=steps,
            optimizer=AdamW(
                model.parameters(),
                lr=config.lr,
                betas=(0.9, 0.99),
                weight_decay=config.weight_decay,
            ),
            schedule=WarmupCosine(config.lr, 0.1 * config.lr, steps // 20, steps),
            grad_accumulation=config.grad_accumulation,
            clip_norm=config.clip_norm,
            eval_every=max(1, steps // (config.epochs * config.evals_per_epoch)),
            scores=lambda: self.task.scores(model),
            patience=config.patience,
            folder=self.folder,
            callbacks=[MetricsLog(self.folder / METRICS), *callbacks],
        )


def wrapped(gpt: GPT, config: FineTuningConfig, num_classes: int) -> Trainable:
    """Put a GPT, of which all or some is trained, into the model of a task."""
    if config.task == "classify":
        return GPTForClassification(gpt, num_classes, config.seed, config.lm_coef)
    return GPTForPreference(gpt, config.beta) if config.task == "dpo" else gpt


def _absolute(place: str) -> str:
    return str(Path(place).absolute()) if Path(place).exists() else place


def _fingerprint(task: Task) -> str:
    content = {
        part: [[r.where, r.fields] for r in records] for part, records in task.records.items()
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()

"""A run of ``npgpt finetune``: a model that goes on from another."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npgpt.data import DataLoader
from npgpt.data.splits import TEST
from npgpt.finetuning.adapters import save_adapter
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.freezing import train_by
from npgpt.finetuning.lora import merge_lora
from npgpt.finetuning.preferences import PreferenceScores, score_preferences, with_reference
from npgpt.finetuning.tasks import Task, make_task
from npgpt.layers.core.init import Init
from npgpt.models import GPT, GPTForClassification, GPTForPreference, LanguageModel, Model
from npgpt.models.config import check_is_gpt
from npgpt.models.objectives.objective import body_of
from npgpt.runs.config import OptimisationConfig
from npgpt.runs.folder import ADAPTER, BASE, refuse_used_by_run
from npgpt.runs.open import open_model
from npgpt.runs.opened_bert import holds_bert
from npgpt.runs.run import Run
from npgpt.tokenizers import Tokenizer
from npgpt.training.callbacks import Callback
from npgpt.training.checkpoints import load_checkpoint, save_checkpoint
from npgpt.training.trainer import Trainer

ITEMS = {"classify": "text", "instruct": "token", "dpo": "pair"}


@dataclasses.dataclass
class FineTuningRun(Run):
    """A folder that ``npgpt finetune`` made: it needs neither the base model nor anything else.

    Attributes
    ----------
    folder, config, model_config, tokenizer
        As of any `Run`.
    labels : list of str
        Of a classification.
    data_fingerprint : str
        SHA-256 of the records, so that a resumed run cannot go on with others.
    """

    tokenizer: Tokenizer
    labels: list[str]
    data_fingerprint: str

    kind = "finetuning"
    Config = FineTuningConfig
    command = "npgpt finetune"

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
        refuse_used_by_run(folder)
        config = dataclasses.replace(
            config,
            base=_absolute(config.base),
            data=_absolute(config.data),
            test_data=_absolute(config.test_data) if config.test_data else None,
        )
        if holds_bert(config.base):
            raise ValueError(
                f"{config.base} holds a BERT, and npgpt finetune trains a GPT; in Python "
                "npgpt.models.BertForClassification makes a classifier of a BERT."
            )
        opened = open_model(config.base)
        model, model_config = opened.model, opened.model.config
        check_is_gpt(model_config, "npgpt finetune")
        if config.dropout is not None:
            model_config = dataclasses.replace(model_config, dropout=config.dropout)
        if config.from_scratch:
            model = GPT(model_config, seed=config.seed)
        task = make_task(config, opened.tokenizer, model_config.context_length)
        run = cls(folder, config, model_config, opened.tokenizer, task.labels, task.fingerprint)
        run.task = task
        with run._made():
            save_checkpoint(folder / BASE, model.state_dict(), {})
        return run

    @classmethod
    def _refused(cls, folder: Path, found: type[Run] | None) -> ValueError:
        return ValueError(f"{folder} is not a fine-tuned model; npgpt finetune makes one from it.")

    @property
    def item(self) -> str:
        """What the loss is the mean over: a text, a token, or a pair of responses."""
        return ITEMS[self.config.task]

    @property
    def template(self) -> str | None:
        """How instructions become prompts, if the run learns from them."""
        return None if self.config.task == "classify" else self.config.template

    @functools.cached_property
    def task(self) -> Task:
        """The data; read when first asked for."""
        task = make_task(self.config, self.tokenizer, self.model_config.context_length, self.labels)
        if task.fingerprint != self.data_fingerprint:
            raise ValueError(
                f"The records of {self.config.data} are not those that {self.folder} was begun "
                "with: their SHA-256 differs."
            )
        return task

    # --- models -------------------------------------------------------------------------------

    def base_model(self) -> GPT:
        """Make the model that the run began with."""
        gpt = self._without_weights()
        gpt.load_state_dict(load_checkpoint(self.folder / BASE)[0])
        return gpt.eval()

    def new_model(self) -> Model:
        """Make the model with the weights of the base, and freeze what is not trained."""
        return self._prepared(self.base_model())

    def num_parameters(self) -> tuple[int, int]:
        """Count the parameters that are trained, and all; no weights are read for it."""
        model = self._prepared(self._without_weights())
        return model.num_parameters(trained_only=True), model.num_parameters()

    def _without_weights(self) -> GPT:
        return GPT(self.model_config, init=Init(self.config.seed, fill=False))

    def _prepared(self, gpt: GPT) -> Model:
        config = self.config
        train_by(gpt, config.method, config.lora, config.seed)
        if config.task == "classify":
            return GPTForClassification(gpt, len(self.labels), config.seed, config.lm_coef)
        return GPTForPreference(gpt, config.beta) if config.task == "dpo" else gpt

    def load_model(self, checkpoint: str = "best") -> Any:
        """Make the model with the weights of a checkpoint, low-rank additions merged.

        Parameters
        ----------
        checkpoint : {"best", "last"}

        Returns
        -------
        GPT or GPTForClassification
            Ready to use.
        """
        model = self.load_trained(checkpoint)
        if self.config.method == "lora":
            merge_lora(model)
        if self.config.task == "dpo":
            model = body_of(model)
            model.name = ""  # no longer a part
            model.assign_names()
        return model.eval()

    def load_gpt(self, checkpoint: str = "best") -> LanguageModel:
        """Make a `GPT` with the weights of a checkpoint; see `load_language_model`."""
        return self.load_language_model(checkpoint)

    def save_adapter(self) -> None:
        """Write the best low-rank additions to the folder ``adapter``, in PEFT's format."""
        save_adapter(
            self.load_trained(), self.folder / ADAPTER, self.config.base, self.config.lora_dropout
        )

    def test_preferences(self) -> tuple[PreferenceScores, PreferenceScores]:
        """Score the test pairs of a preference run: by the model it began with, and by its best."""
        base = GPTForPreference(self.base_model(), self.config.beta)
        pairs = with_reference(base, self.task.parts[TEST])
        tuned: Any = self.load_trained()
        return score_preferences(base, pairs), score_preferences(tuned, pairs)

    def trainer(self, callbacks: Sequence[Callback] = ()) -> Trainer:
        """Make the trainer of this run, at its first step; ``resume()`` takes up a checkpoint."""
        config, model = self.config, self.new_model()
        self.task.prepare(model)
        sampler = self.task.sampler(config.batch_size)
        loader = DataLoader(
            self.task.train, config.batch_size, shuffle=True, seed=config.seed, sampler=sampler
        )
        steps = max(1, config.epochs * len(loader) // config.grad_accumulation)
        optimisation = OptimisationConfig(
            steps=steps,
            grad_accumulation=config.grad_accumulation,
            optimizer=config.optimizer,
            lr=config.lr,
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm,
            eval_every=max(1, steps // (config.epochs * config.evals_per_epoch)),
        )
        return self._trainer(
            model,
            loader,
            self.task.held_out(config.batch_size),
            optimisation,
            callbacks,
            scores=lambda: self.task.scores(model),
            patience=config.patience,
        )


def _absolute(place: str) -> str:
    return str(Path(place).absolute()) if Path(place).exists() else place

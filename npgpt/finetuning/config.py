"""Everything that decides a fine-tuning run."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from npgpt.data.docstrings import BUILT_IN
from npgpt.fields import (
    FromOthers,
    Settings,
    check_options,
    fill_defaults,
    names_of,
    option,
)
from npgpt.finetuning.lora import LoRAConfig
from npgpt.models import GPT
from npgpt.optim import OPTIMIZERS

TASKS, METHODS = ("classify", "instruct", "dpo"), ("full", "last-block", "lora")
TEMPLATES = ("alpaca", "chat")
LEARNING_RATES = {"full": 3e-4, "last-block": 1e-3, "lora": 1e-3}  # of adamw and adam
SGD_TIMES = 100  # what gradient descent needs of these rates
DEFAULTS = {
    "classify": {"epochs": 4, "batch_size": 16},
    "instruct": {"epochs": 2, "batch_size": 16},
    "dpo": {"epochs": 2, "batch_size": 8},
}
# settings that do not mean something for every task
OF_TASKS = {
    ("classify",): ("text_column", "label_column", "split_column", "from_scratch", "lm_coef"),
    ("instruct",): ("mask_prompt", "packing"),
    ("dpo",): ("beta",),
    ("instruct", "dpo"): ("template",),
}
DATA, METHOD = "Data", "What is trained"  # panels of the command line's help


def by_task(name: str) -> FromOthers:
    """Make the default that the task decides."""
    return FromOthers(lambda config: DEFAULTS[config.task][name], "by task")


@dataclasses.dataclass(frozen=True)
class FineTuningConfig(Settings):
    """What ``npgpt finetune`` can be told; the same config, base and data give the same run.

    Parameters
    ----------
    task : {"classify", "instruct", "dpo"}
        classify, instruct or dpo.
    base : str
        The model to begin with: as for `npgpt.runs.open_model`.
    data : str
        A .csv, .tsv, .json or .jsonl file of records, or docstrings.
    test_data : str, optional
        A file to test on; else a part of the data.
    method : {"full", "last-block", "lora"}
        full, last-block (with the final norm and the head), or lora (and the head).
    rank : int
        Of LoRA.
    alpha : float
        Of LoRA.
    lora_dropout : float
        Of LoRA.
    target_modules : tuple[str, ...]
        Linear maps that LoRA is put beside, such as attention.qkv; may be repeated.
    from_scratch : bool
        Random weights, to compare with.
    text_column : str
        Name of the texts' column.
    label_column : str
        Name of the labels' column.
    split_column : str
        Column with train, validation or test, if there is one.
    strict : bool
        Refuse the data if a record must be left out: an empty text, a prompt too long, a pair that
        is the same twice.
    template : {"alpaca", "chat"}
        How an instruction becomes a prompt: alpaca or chat.
    mask_prompt : bool
        Learn from the response only, or from the prompt too.
    packing : bool
        Several records in each row of a batch.
    dropout : float, optional
        Of the model while it is trained.
    lm_coef : float
        Weight of the texts' next tokens in the loss, beside the classes.
    beta : float
        How much leaving the base model costs.
    epochs : int
        Passes over the data.
    batch_size : int
        Records a batch.
    grad_accumulation : int
        Batches a step.
    optimizer : {"adamw", "adam", "sgd"}
        adamw, adam, or sgd (gradient descent with momentum 0.9).
    lr : float
        Highest learning rate.
    weight_decay : float
        Of adamw: the share of a weight, times the rate, that a step takes away. Of adam and sgd: a
        penalty in the gradient.
    clip_norm : float
        Largest gradient norm; 0 does not clip.
    evals_per_epoch : int
        Evaluations, each followed by a checkpoint.
    patience : int
        Evaluations without a lower held-out loss after which to stop; 0 never does.
    seed : int
        Of new weights, order of records and dropout.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    PANEL: ClassVar[str] = "Optimisation"

    task: str = option(choices=TASKS)
    base: str = option()
    data: str = option(DATA, default=BUILT_IN)
    test_data: str | None = option(DATA, default=None)
    method: str = option(METHOD, default="full", choices=METHODS)
    rank: int = option(METHOD, default=8, minimum=1)
    alpha: float = option(METHOD, default=16.0)
    lora_dropout: float = option(METHOD, default=0.0)
    target_modules: tuple[str, ...] = option(METHOD, default=("*",), shown_default="all")
    from_scratch: bool = option(METHOD, default=False)
    text_column: str = option(DATA, default="text")
    label_column: str = option(DATA, default="label")
    split_column: str = option(DATA, default="split")
    strict: bool = option(DATA, default=False)
    template: str = option(DATA, default="alpaca", choices=TEMPLATES)
    mask_prompt: bool = option(DATA, default=True)
    packing: bool = option(DATA, default=False)
    dropout: float | None = option(default=None, shown_default="the base's")
    lm_coef: float = option(default=0.0, minimum=0)
    beta: float = option(default=0.1)
    epochs: int = option(default=by_task("epochs"), minimum=1)
    batch_size: int = option(default=by_task("batch_size"), minimum=1)
    grad_accumulation: int = option(default=1, minimum=1)
    optimizer: str = option(default="adamw", choices=tuple(OPTIMIZERS))
    lr: float = option(
        default=FromOthers(
            lambda config: (
                LEARNING_RATES[config.method] * (SGD_TIMES if config.optimizer == "sgd" else 1)
            ),
            f"3e-4; last-block and lora 1e-3; sgd {SGD_TIMES} times as much",
        ),
        minimum=0,
    )
    weight_decay: float = option(
        default=FromOthers(
            lambda config: 0.01 if config.optimizer == "adamw" else 0.0, "0.01; adam and sgd 0"
        ),
        minimum=0,
    )
    clip_norm: float = option(default=1.0, minimum=0)
    evals_per_epoch: int = option(default=2, minimum=1)
    patience: int = option(default=4, minimum=0)
    seed: int = option(default=0, minimum=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        self.lora  # noqa: B018  (raises if a value is out of range)
        check_options(self)
        fill_defaults(self)
        if self.dropout is not None and not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}.")
        if not self.beta > 0.0:
            raise ValueError(f"beta must be positive, got {self.beta}.")
        if self.from_scratch and self.method != "full":
            raise ValueError(f"from_scratch needs the method full, got {self.method}.")

    @property
    def family(self) -> type[GPT]:
        """The class of the models that can be fine-tuned."""
        return GPT

    @property
    def lora(self) -> LoRAConfig:
        """The low-rank additions of the method ``lora``."""
        return LoRAConfig(self.rank, self.alpha, self.lora_dropout, self.target_modules)


def settings_of(task: str) -> list[str]:
    """Return the names of the settings that mean something for a task."""
    others = {name for tasks, names in OF_TASKS.items() if task not in tasks for name in names}
    return [name for name in names_of(FineTuningConfig) if name not in others]

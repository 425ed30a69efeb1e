"""Everything that decides a fine-tuning run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from npgpt.finetuning.lora import LoRAConfig

TASKS, METHODS = ("classify", "instruct", "dpo"), ("full", "last-block", "lora")
LEARNING_RATES = {"full": 3e-4, "last-block": 1e-3, "lora": 1e-3}
TEMPLATES = ("alpaca", "chat")


@dataclasses.dataclass(frozen=True)
class FineTuningConfig:
    """What `npgpt finetune` can be told; the same config, base and data give the same run.

    Parameters
    ----------
    task : {"classify", "instruct", "dpo"}
    base : str
        The model to begin with: as for `npgpt.runs.open`.
    data : str
        A file of records, or ``docstrings``.
    test_data : str, optional
        A file of records to test on; by default a part of ``data``.
    method : {"full", "last-block", "lora"}
        What is trained: everything; the last block, the final norm and a classifier's head; or
        low-rank additions (and a classifier's head).
    rank, alpha, lora_dropout, target_modules
        Of `LoRAConfig`.
    from_scratch : bool
        Begin with random weights of the base's shape, to compare with.
    text_column, label_column, split_column : str
        Of a classification's records. The split is optional in them: train, validation or test.
    template : {"alpaca", "chat"}
        How an instruction becomes a prompt.
    mask_prompt : bool
        Whether only the response counts in the loss.
    packing : bool
        Put several records into each row of a batch.
    dropout : float, optional
        Of the model while it is trained; by default the base's.
    lm_coef : float
        Of a classification: the weight of the texts' own next tokens in the loss, beside the
        classes (`npgpt.models.GPTForClassification`).
    beta : float
        Of DPO: how much leaving the base model costs.
    epochs : int
    batch_size, grad_accumulation : int
    lr : float
        Highest learning rate; by default 3e-4 for ``full``, 1e-3 for the others.
    weight_decay, clip_norm : float
        Of AdamW, and the largest gradient norm (0 does not clip).
    evals_per_epoch : int
        Evaluations on the validation part, each followed by a checkpoint.
    patience : int
        Stop after so many evaluations in a row without a lower validation loss; 0 never does.
    seed : int

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    task: str
    base: str
    data: str = "docstrings"
    test_data: str | None = None
    method: str = "full"
    rank: int = 8
    alpha: float = 16.0
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] = ("*",)
    from_scratch: bool = False
    text_column: str = "text"
    label_column: str = "label"
    split_column: str = "split"
    template: str = "alpaca"
    mask_prompt: bool = True
    packing: bool = False
    dropout: float | None = None
    lm_coef: float = 0.0
    beta: float = 0.1
    epochs: int = 3
    batch_size: int = 8
    grad_accumulation: int = 1
    lr: float = None  # type: ignore[assignment]  # __post_init__ puts the method's in its place
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    evals_per_epoch: int = 2
    patience: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        for name, choices in (("task", TASKS), ("method", METHODS), ("template", TEMPLATES)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}."
                )
        if self.lr is None:
            object.__setattr__(self, "lr", LEARNING_RATES[self.method])
        for name in ("epochs", "batch_size", "grad_accumulation", "evals_per_epoch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("lm_coef", "lr", "weight_decay", "clip_norm", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}.")
        if self.dropout is not None and not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}.")
        if not self.beta > 0.0:
            raise ValueError(f"beta must be positive, got {self.beta}.")
        if self.from_scratch and self.method != "full":
            raise ValueError(f"from_scratch needs the method full, got {self.method}.")
        self.lora  # noqa: B018  (raises if a value is out of range)

    @property
    def lora(self) -> LoRAConfig:
        """The low-rank additions of the method ``lora``."""
        return LoRAConfig(self.rank, self.alpha, self.lora_dropout, self.target_modules)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> FineTuningConfig:
        """Make a config from `to_dict`'s fields; an unknown one raises ValueError."""
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"FineTuningConfig: {error}.") from None

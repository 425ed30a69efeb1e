"""Everything that decides a training run, each setting declared once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from npgpt.data.masking import MASKING
from npgpt.data.reading import ERROR_HANDLERS
from npgpt.fields import FromOthers, Settings, check_options, fill_defaults, option
from npgpt.models import MODELS, LanguageModel, Model
from npgpt.models.model import MaskedBatch
from npgpt.optim import OPTIMIZERS, SCHEDULES
from npgpt.runs.parts import ConfigOfParts
from npgpt.runs.tokenizer import check_tokenizer_name

# what a run takes where the config of the model's family has no default
FAMILY = "gpt"
SHAPE = {"context_length": 64, "n_layers": 2, "n_heads": 4, "d_model": 128}

LEARNING_RATES = {"adamw": 3e-3, "adam": 3e-3, "sgd": 0.1}
WEIGHT_DECAYS = {"adamw": 0.1, "adam": 0.0, "sgd": 0.0}  # a penalty is another thing than a decay


@dataclasses.dataclass(frozen=True)
class DataConfig(Settings):
    """What a run learns from, and how it becomes tokens.

    Parameters
    ----------
    corpus : str
        python-docs (the help texts that come with Python), python-source (its standard library), or
        the path of a text file, of a folder with .txt, .md and .jsonl files, or a glob in quotes; -
        reads standard input. Files may be packed (.gz). A folder of npgpt tokenize is taken as it
        is.
    tokenizer : str
        bpe (byte pairs), char, word, wordpiece, gpt2, or the path of a tokenizer.
    vocab_size : int
        Tokens of a bpe vocabulary; others have the size they need.
    validation_fraction : float
        Share of the text, at its end, that is held out.
    stride : int, optional
        Tokens between the starts of training windows; 1 uses every position.
    bptt : int, optional
        Of rnn, gru and lstm: read the text in order, N tokens a step, each from the state that the
        step before has left (truncated backpropagation through time).
    mask_probability : float
        Of bert: share of the tokens that it is asked for.
    masking : {"exact", "bernoulli"}
        Of bert: exact (as many of each window as the share comes to) or bernoulli (each token for
        itself).
    whole_words : bool
        Of bert: mask all pieces of a word, or none.
    field : str
        Where the text is in a line of .jsonl.
    errors : {"strict", "replace", "ignore"}
        Bytes that are not UTF-8: strict (an error), replace, or ignore.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    PANEL: ClassVar[str] = "Text"

    corpus: str = option(default="python-docs")
    tokenizer: str = option(default="bpe")
    vocab_size: int = option(default=1024, minimum=1)
    validation_fraction: float = option(default=0.1)
    stride: int | None = option(default=None, minimum=1, shown_default="the context length")
    bptt: int | None = option(default=None, minimum=1, metavar="N", shown_default="windows")
    mask_probability: float = option(default=0.15)
    masking: str = option(default="exact", choices=MASKING)
    whole_words: bool = option(default=False)
    field: str = option(default="text")
    errors: str = option(default="strict", choices=ERROR_HANDLERS)

    def __post_init__(self) -> None:
        check_tokenizer_name(self.tokenizer)
        check_options(self)
        if not 0.0 < self.validation_fraction < 1.0:
            raise ValueError(
                f"validation_fraction must be above 0 and below 1, got {self.validation_fraction}."
            )
        if self.bptt is not None and self.stride is not None:
            raise ValueError(
                f"bptt {self.bptt} reads the text in order, without windows and their stride: "
                "leave one of the two out."
            )
        if not 0.0 < self.mask_probability <= 1.0:
            raise ValueError(
                f"mask_probability must be above 0 and at most 1, got {self.mask_probability}."
            )

    @property
    def chosen_masks(self) -> dict[str, Any]:
        """How masked words are drawn, as `npgpt.data.masked_words` takes it."""
        return {
            "probability": self.mask_probability,
            "masking": self.masking,
            "whole_words": self.whole_words,
        }


@dataclasses.dataclass(frozen=True)
class OptimisationConfig(Settings):
    """How a model is trained.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    batch_size : int
        Windows a batch.
    grad_accumulation : int
        Batches a step.
    recompute : bool
        Compute blocks again for backward: less memory, about a third more work.
    optimizer : {"adamw", "adam", "sgd"}
        adamw, adam, or sgd (gradient descent with momentum).
    lr : float
        Highest learning rate.
    schedule : {"cosine", "constant", "linear", "inverse-sqrt", "wsd"}
        How the rate goes on after its rise: cosine, constant, linear, inverse-sqrt, or wsd
        (constant, then a line down).
    min_lr : float
        Rate at the end of cosine, linear and wsd.
    warmup_steps : int
        Steps in which the rate rises.
    decay_steps : int
        Steps at the end in which the rate of wsd falls.
    beta1 : float
        Of adamw and adam: decay of the running mean of gradients.
    beta2 : float
        Of adamw and adam: decay of the running mean of their squares.
    momentum : float
        Of sgd; 0 is none.
    nesterov : bool
        Nesterov's momentum.
    weight_decay : float
        Of adamw: the share of a weight, times the rate, that a step takes away. Of adam and sgd: a
        penalty in the gradient.
    clip_norm : float
        Largest gradient norm; 0 does not clip.
    eval_every : int
        Steps between evaluations and checkpoints.
    eval_batches : int
        Batches of an evaluation, evenly spread; 0 is all.
    gradient_flow : int
        Measure every N steps how gradients flow, for RUN/gradient_flow.jsonl and .png; 0: never.
    seed : int
        Of weights, the order of batches, dropout and samples.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    PANEL: ClassVar[str] = "Optimisation"

    steps: int = option(default=1200, minimum=1)
    batch_size: int = option(default=12, minimum=1)
    grad_accumulation: int = option(default=1, minimum=1)
    recompute: bool = option(default=False)
    optimizer: str = option(default="adamw", choices=tuple(OPTIMIZERS))
    lr: float = option(
        default=FromOthers(lambda config: LEARNING_RATES[config.optimizer], "0.003; sgd 0.1"),
        minimum=0,
    )
    schedule: str = option(default="cosine", choices=SCHEDULES)
    min_lr: float = option(default=FromOthers(lambda config: 0.1 * config.lr, "lr / 10"), minimum=0)
    warmup_steps: int = option(
        default=FromOthers(lambda config: config.steps // 20, "steps / 20"), minimum=0
    )
    decay_steps: int = option(
        default=FromOthers(lambda config: config.steps // 10, "steps / 10"), minimum=0
    )
    beta1: float = option(default=0.9)
    beta2: float = option(default=0.99)
    momentum: float = option(default=0.9)
    nesterov: bool = option(default=False)
    weight_decay: float = option(
        default=FromOthers(lambda config: WEIGHT_DECAYS[config.optimizer], "0.1; adam and sgd 0"),
        minimum=0,
    )
    clip_norm: float = option(default=1.0, minimum=0)
    eval_every: int = option(
        default=FromOthers(lambda config: max(1, config.steps // 5), "steps / 5"), minimum=1
    )
    eval_batches: int = option(default=0, minimum=0)
    gradient_flow: int = option(default=0, minimum=0, metavar="N")
    seed: int = option(default=0, minimum=0)

    def __post_init__(self) -> None:
        check_options(self)
        fill_defaults(self)
        if not 0.0 <= self.min_lr <= self.lr:
            raise ValueError(
                f"learning rates must satisfy 0 <= min_lr <= lr, got lr {self.lr} and min_lr "
                f"{self.min_lr}."
            )
        for name in ("beta1", "beta2", "momentum"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(
                    f"{name} must be at least 0 and below 1, got {getattr(self, name)}."
                )
        if self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps must not exceed steps, got {self.warmup_steps} and {self.steps}."
            )
        if self.schedule == "wsd" and self.warmup_steps + self.decay_steps > self.steps:
            raise ValueError(
                "warmup_steps and decay_steps together must not exceed steps, got "
                f"{self.warmup_steps} and {self.decay_steps} of {self.steps}."
            )
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov needs a momentum above 0.")


@dataclasses.dataclass(frozen=True, init=False)
class RunConfig(ConfigOfParts):
    """What ``npgpt train`` can be told; the same config and corpus give the same run.

    Parameters
    ----------
    model : str or ModelConfig
        A family of `npgpt.models.MODELS`, or the shape of a model. Its vocabulary is as large as
        the data's ``vocab_size`` until the tokenizer is there; see `model_config`.
    data : DataConfig, optional
    optimisation : OptimisationConfig, optional
    **settings
        Fields of the three parts by their names, in the place of what the parts hold; `to_dict`
        writes them so, and they can be read as attributes.

    Raises
    ------
    ValueError
        If a value is out of range, or no part has a field of a name.

    Examples
    --------
    >>> config = RunConfig(n_layers=3, lr=1e-3)
    >>> config.model.n_layers, config.optimisation.min_lr
    (3, 0.0001)
    >>> config.n_layers, config.min_lr
    (3, 0.0001)
    """

    data: DataConfig
    optimisation: OptimisationConfig

    Data, Optimisation = DataConfig, OptimisationConfig
    FAMILY, SHAPE = FAMILY, SHAPE

    @classmethod
    def families(cls) -> dict[str, type[Model]]:
        """Map names to the families that learn from a text."""
        return {kind: MODELS[kind] for kind in families_of_text()}

    @classmethod
    def _implied(cls, model: Any, data: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        bptt = settings.get("bptt", data.bptt if data and isinstance(model, str) else None)
        return {} if bptt is None else {"context_length": bptt}

    def _check(self) -> None:
        super()._check()
        self._check_masks()
        if self.data.bptt is not None:
            self._check_bptt(self.data.bptt)
        elif self.data.stride is None:
            stride = self.model.context_length
            vars(self)["data"] = dataclasses.replace(self.data, stride=stride)

    def _check_masks(self) -> None:
        """Refuse masks for a model that is asked for no masked words."""
        if self.family.Batch is MaskedBatch:
            return
        plain = DataConfig().chosen_masks
        if self.data.chosen_masks != plain:
            raise ValueError(
                "mask_probability, masking and whole_words say which words are masked, and a model "
                f"of the kind {self.family.kind!r} is not asked for masked words; take bert."
            )

    def _check_bptt(self, bptt: int) -> None:
        if not self.family.carries_state:
            others = ", ".join(kind for kind, family in MODELS.items() if family.carries_state)
            raise ValueError(
                f"bptt: a model of the kind {self.family.kind!r} carries no state on; take one of "
                f"{others}."
            )
        if self.model.context_length != bptt:
            raise ValueError(
                f"bptt {bptt} is the length of what is read at a time, so context_length cannot "
                f"be {self.model.context_length}: leave one of the two out."
            )


def families_of_text() -> list[str]:
    """List the kinds of models that learn from a text: its next token, or masked ones."""
    return [
        kind
        for kind, family in MODELS.items()
        if issubclass(family, LanguageModel) or family.Batch is MaskedBatch
    ]

"""Everything that decides a run that learns to translate, each setting declared once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from npgpt.data.pairs import BUILT_IN_PAIRS
from npgpt.data.pairs.tokenizers import CHARACTERS, JOINT, KINDS
from npgpt.fields import (
    FromOthers,
    Settings,
    check_options,
    fill_defaults,
    from_fields,
    names_of,
    option,
)
from npgpt.models import Model, ModelConfig
from npgpt.models.sequence_to_sequence import translators
from npgpt.optim import SCHEDULES
from npgpt.runs.config import OptimisationConfig
from npgpt.runs.parts import ConfigOfParts

# what a run takes where the config of the model's family has no default
FAMILY = "transformer"
SHAPE = {"context_length": 128, "n_layers": 2, "n_heads": 4, "d_model": 64}

LEARNING_RATES = {"adamw": 2e-3, "adam": 2e-3, "sgd": 0.1}


def is_built_in(pairs: str) -> bool:
    """Say whether a name is that of a task that needs no file."""
    return pairs in BUILT_IN_PAIRS and not Path(pairs).is_file()


@dataclasses.dataclass(frozen=True)
class PairsConfig(Settings):
    """What a run learns to translate, and how it becomes tokens.

    Parameters
    ----------
    pairs : str
        Learn to translate: dates, numbers, numbers:de, reverse; gettext:de (the catalogues of this
        machine); a .tsv, .txt, .jsonl or .mo file; or two parallel files, a.en,a.de.
    swap : bool
        Learn the way back, from the targets of pairs to their sources.
    tokenizer : str
        joint (byte pairs of both sides), separate (of each side) or char (the characters of each).
    vocab_size : int
        Tokens of each vocabulary of byte pairs.
    validation_fraction : float
        Share of the sources that is held out, by their hash.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    PANEL: ClassVar[str] = "Pairs"

    pairs: str = option(default="dates")
    swap: bool = option(default=False)
    tokenizer: str = option(
        default=FromOthers(
            lambda config: CHARACTERS if is_built_in(config.pairs) else JOINT,
            "joint; char of a built-in task",
        ),
        choices=KINDS,
    )
    vocab_size: int = option(default=8000, minimum=1)
    validation_fraction: float = option(default=0.1)

    def __post_init__(self) -> None:
        fill_defaults(self)
        check_options(self)
        if not 0.0 < self.validation_fraction < 1.0:
            raise ValueError(
                f"validation_fraction must be above 0 and below 1, got {self.validation_fraction}."
            )


@dataclasses.dataclass(frozen=True)
class PairOptimisationConfig(OptimisationConfig):
    """How a model that translates is trained.

    Parameters
    ----------
    batch_tokens : int
        Tokens of each side in a batch, what fills rows up included: as many pairs of similar length
        as fit.
    batch_size : int
        Pairs a batch, in the place of batch_tokens; 0: as many as batch_tokens has room for.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    steps: int = option(default=3000, minimum=1)
    batch_size: int = option(default=0, minimum=0)
    lr: float = option(
        default=FromOthers(lambda config: LEARNING_RATES[config.optimizer], "0.002; sgd 0.1"),
        minimum=0,
    )
    schedule: str = option(default="inverse-sqrt", choices=SCHEDULES)
    warmup_steps: int = option(
        default=FromOthers(lambda config: config.steps // 10, "steps / 10"), minimum=0
    )
    eval_batches: int = option(default=20, minimum=0)
    batch_tokens: int = option(default=2048, minimum=1)


@dataclasses.dataclass(frozen=True, init=False)
class TranslationConfig(ConfigOfParts):
    """What ``npgpt train --pairs`` can be told; the same config and pairs give the same run.

    Parameters
    ----------
    model : str or ModelConfig
        ``transformer``, ``rnn``, ``rnn-attention`` or another of
        `npgpt.models.sequence_to_sequence.translators`, or the shape of a model.
    data : PairsConfig, optional
    optimisation : PairOptimisationConfig, optional
    **settings
        As of `RunConfig`.

    Raises
    ------
    ValueError
        If a value is out of range, or no part has a field of a name.

    Examples
    --------
    >>> config = TranslationConfig("rnn-attention", pairs="numbers:de", d_model=32)
    >>> config.tokenizer, config.share_embeddings, config.score
    ('char', False, 'additive')
    """

    model: Any
    data: PairsConfig
    optimisation: PairOptimisationConfig

    Data, Optimisation = PairsConfig, PairOptimisationConfig
    FAMILY, SHAPE = FAMILY, SHAPE

    @classmethod
    def families(cls) -> dict[str, type[Model]]:
        """Map names to the families that learn from pairs."""
        return {**translators()}

    @classmethod
    def _implied(cls, model: Any, data: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Let embeddings be shared if the vocabulary is."""
        if not isinstance(model, str):
            return {}
        fields = {**(vars(data) if data else {}), **settings}
        names = names_of(PairsConfig)
        held = from_fields(PairsConfig, {n: v for n, v in fields.items() if n in names})
        return {"share_embeddings": held.tokenizer == JOINT}

    def _check(self) -> None:
        super()._check()
        if self.model.share_embeddings and self.data.tokenizer != JOINT:
            raise ValueError(
                f"share_embeddings needs one vocabulary for both sides, and the tokenizer "
                f"{self.data.tokenizer} makes two; take --tokenizer {JOINT}."
            )

    def model_config(self, vocab_size: int, source_vocab_size: int | None = None) -> ModelConfig:
        """Return the model's shape for vocabularies of these sizes."""
        return dataclasses.replace(
            self.model, vocab_size=vocab_size, source_vocab_size=source_vocab_size
        )

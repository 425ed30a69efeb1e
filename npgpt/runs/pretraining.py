"""A run of ``npgpt train``: a model that learns a text from scratch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npgpt.data import (
    MASK,
    DataLoader,
    Dataset,
    HeldOutBatches,
    RandomDataset,
    TokenWindows,
    mask_id_of,
    masked_words,
)
from npgpt.evaluation.masked import evaluate_masked
from npgpt.models import Bert, Model
from npgpt.models.model import MaskedBatch
from npgpt.runs.config import RunConfig
from npgpt.runs.folder import refuse_used_by_run
from npgpt.runs.run import Run
from npgpt.runs.source import Progress, Source, open_source
from npgpt.training.callbacks import Callback
from npgpt.training.trainer import Trainer


@dataclasses.dataclass
class PretrainingRun(Run):
    """A folder that ``npgpt train`` made.

    Attributes
    ----------
    folder, config, model_config, tokenizer
        As of any `Run`.
    corpus_fingerprint : str
        SHA-256 of the text, so that a resumed run cannot go on with another one.
    """

    corpus_fingerprint: str

    kind = "training"
    Config = RunConfig
    command = "npgpt train"

    @classmethod
    def create(
        cls, folder: str | Path, config: RunConfig, progress: Progress | None = None
    ) -> PretrainingRun:
        """Train the tokenizer and make the folder; nothing is written unless all of it fits.

        Parameters
        ----------
        folder : path
            Must not exist, or be empty.
        config : RunConfig
        progress : function, optional
            Called with (done, total) while the tokenizer is trained.

        Raises
        ------
        FileExistsError
            If the folder holds something.
        FileNotFoundError, ValueError
            If the corpus cannot be read or is too short for the context.
        """
        folder = Path(folder)
        refuse_used_by_run(folder)
        source = open_source(config.data)
        is_masked = config.family.Batch is MaskedBatch
        tokenizer = source.tokenizer(config.data, progress, [MASK] if is_masked else [])
        if is_masked:
            mask_id_of(tokenizer)  # raises if it has none
        model_config = config.model_config(tokenizer.vocab_size)
        run = cls(folder, config, model_config, tokenizer, source.fingerprint)
        run.corpus = source
        run.windows  # noqa: B018  (raises if the text is too short)
        with run._made():
            run.config = config.changed(corpus=source.keep(folder))
        return run

    @functools.cached_property
    def corpus(self) -> Source:
        """The text, or the token files; read when first asked for."""
        source = open_source(self.config.data)
        if source.fingerprint != self.corpus_fingerprint:
            raise ValueError(
                f"The text of {self.config.corpus} is not the one that {self.folder} was trained "
                "on: its SHA-256 differs."
            )
        return source

    @functools.cached_property
    def windows(self) -> tuple[TokenWindows, TokenWindows]:
        """The training and the held-out part of the text, encoded and cut."""
        context, windows = self.model_config.context_length, []
        for part, ids, stride in zip(
            ("training", "held-out"),
            self.corpus.ids(self.tokenizer),
            (self.config.stride, context),
            strict=True,
        ):
            if len(ids) <= context:
                raise ValueError(
                    f"The {part} part of {self.corpus.name} has {len(ids)} tokens, but a context "
                    f"of {context} needs at least {context + 1}: take a longer text or a shorter "
                    "context."
                )
            windows.append(TokenWindows(ids, context, stride))
        return windows[0], windows[1]

    @functools.cached_property
    def examples(self) -> tuple[Dataset | RandomDataset, Dataset | RandomDataset]:
        """What the model learns from, and what it is evaluated on: windows, perhaps masked."""
        train, held_out = self.windows
        if not self.is_masked:
            return train, held_out
        return masked_words(train, self.tokenizer), masked_words(held_out, self.tokenizer)

    @property
    def is_masked(self) -> bool:
        """Whether the model learns to find masked words."""
        return self.config.family.Batch is MaskedBatch

    def train_loader(self) -> DataLoader:
        """Make the shuffled batches to train on, at their first position."""
        config = self.config
        return DataLoader(self.examples[0], config.batch_size, shuffle=True, seed=config.seed)

    def held_out_batches(self) -> HeldOutBatches:
        """Make the batches to evaluate on."""
        return HeldOutBatches(self.examples[1], self.config.batch_size, self.config.eval_batches)

    def new_model(self) -> Model:
        """Make the model with its initial weights."""
        optimisation = self.config.optimisation
        options = {"recompute": True} if optimisation.recompute else {}
        return self.config.family(self.model_config, seed=optimisation.seed, **options)

    def trainer(self, callbacks: Sequence[Callback] = ()) -> Trainer:
        """Make the trainer of this run, at its first step; ``resume()`` takes up a checkpoint."""
        loader, held_out = self.train_loader(), self.held_out_batches()
        model, config = self.new_model(), self.config.optimisation
        options: dict[str, Any] = {}
        if isinstance(model, Bert):
            options["scores"] = lambda: {"accuracy": evaluate_masked(model, held_out).accuracy}
        return self._trainer(model, loader, held_out, config, callbacks, **options)

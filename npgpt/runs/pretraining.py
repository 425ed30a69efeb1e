"""A run of ``npgpt train``: a model that learns a text from scratch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npgpt.data import (
    DataLoader,
    Dataset,
    HeldOutBatches,
    RandomDataset,
    TokenStreams,
    TokenWindows,
    mask_id_of,
    masked_words,
)
from npgpt.data.masking import MASK
from npgpt.data.token_streams import num_tokens_needed
from npgpt.evaluation.masked import evaluate_masked
from npgpt.models import Bert, Model
from npgpt.models.model import MaskedBatch
from npgpt.runs.config import RunConfig
from npgpt.runs.folder import refuse_used_by_run
from npgpt.runs.run import Run
from npgpt.runs.source import Progress, Source, open_source
from npgpt.tokenizers import Tokenizer
from npgpt.training.callbacks import Callback
from npgpt.training.trainer import Trainer

Cut = TokenWindows | TokenStreams


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

    tokenizer: Tokenizer
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
    def windows(self) -> tuple[Cut, Cut]:
        """The training and the held-out part of the text, encoded and cut."""
        ids = self.corpus.ids(self.tokenizer)
        if self.config.bptt is not None:
            return self._streams("training", ids[0]), self._streams("held-out", ids[1])
        stride, context = self.config.stride, self.model_config.context_length
        return self._windows("training", ids[0], stride), self._windows("held-out", ids[1], context)

    def _windows(self, part: str, ids: np.ndarray, stride: int) -> TokenWindows:
        context = self.model_config.context_length
        if len(ids) <= context:
            raise ValueError(
                f"The {part} part of {self.corpus.name} has {len(ids)} tokens, but a context "
                f"of {context} needs at least {context + 1}: take a longer text or a shorter "
                "context."
            )
        return TokenWindows(ids, context, stride)

    def _streams(self, part: str, ids: np.ndarray) -> TokenStreams:
        """Cut as many streams as a batch has rows; of a short held-out text fewer."""
        bptt, count = self.config.bptt, self.config.batch_size
        if part == "held-out":
            count = max(1, min(count, (len(ids) - 1) // bptt))
        least = num_tokens_needed(count, bptt)
        if len(ids) < least:
            raise ValueError(
                f"The {part} part of {self.corpus.name} has {len(ids)} tokens, but batches of "
                f"{count} x {bptt} need at least {least}: take a longer text, a smaller batch size "
                "or a smaller bptt."
            )
        return TokenStreams(ids, count, bptt)

    @functools.cached_property
    def examples(self) -> tuple[Dataset | RandomDataset, Dataset | RandomDataset]:
        """What the model learns from, and what it is evaluated on: windows, perhaps masked."""
        train, held_out = self.windows
        if not self.is_masked:
            return train, held_out
        masks = self.config.data.chosen_masks
        return (
            masked_words(train, self.tokenizer, **masks),
            masked_words(held_out, self.tokenizer, **masks),
        )

    @property
    def is_masked(self) -> bool:
        """Whether the model learns to find masked words."""
        return self.config.family.Batch is MaskedBatch

    def train_loader(self) -> DataLoader:
        """Make the batches to train on, at their first position: shuffled windows, or streams."""
        config, cut = self.config, self.examples[0]
        shuffle = not isinstance(cut, TokenStreams)
        return DataLoader(cut, config.batch_size, shuffle=shuffle, seed=config.seed)

    def held_out_batches(self) -> HeldOutBatches:
        """Make the batches to evaluate on; with bptt the state is carried there too."""
        config, cut = self.config, self.examples[1]
        rows = cut.num_streams if isinstance(cut, TokenStreams) else config.batch_size
        return HeldOutBatches(cut, rows, config.eval_batches)

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

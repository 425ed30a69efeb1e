"""A run: the folder that holds a training's config, tokenizer, checkpoints and metrics."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from npgpt import tokenizers
from npgpt.data import (
    Corpus,
    DataLoader,
    HeldOutBatches,
    TokenWindows,
    encode_documents,
    load_corpus,
    split_corpus,
)
from npgpt.data.corpora import is_built_in
from npgpt.data.reading import STANDARD_INPUT
from npgpt.data.streams import TokenFolder, is_token_folder
from npgpt.files import write_atomically
from npgpt.gradients import Flow
from npgpt.models import GPT
from npgpt.optim import AdamW, WarmupCosine
from npgpt.runs.config import TrainingConfig
from npgpt.runs.flow_log import GradientFlowLog, read_flows
from npgpt.runs.folder import CONFIG, read_settings, refuse_used, write_settings
from npgpt.runs.tokenizer import make_tokenizer, open_tokenizer
from npgpt.tokenizers import Tokenizer
from npgpt.training.callbacks import Callback
from npgpt.training.checkpoints import load_checkpoint, without_prefix
from npgpt.training.metrics import MetricsLog, read_metrics
from npgpt.training.trainer import BEST, LAST, Trainer

TEXT = "corpus.txt"  # of a run on standard input
FLOW, FLOW_PLOT = "gradient_flow.jsonl", "gradient_flow.png"
TOKENIZER, METRICS, PLOT = "tokenizer.json", "metrics.jsonl", "loss.png"
CHECKPOINTS = {"best": BEST, "last": LAST}

Progress = Callable[[int, int], None]


@dataclasses.dataclass
class Run:
    """A run folder: ``config.json``, ``tokenizer.json``, ``metrics.jsonl`` and checkpoints.

    Made by `Run.create`, found again by `Run.open`.

    Attributes
    ----------
    folder : Path
    config : TrainingConfig
    tokenizer : Tokenizer
    corpus_fingerprint : str
        SHA-256 of the text, so that a resumed run cannot go on with another one.
    """

    folder: Path
    config: TrainingConfig
    tokenizer: Tokenizer
    corpus_fingerprint: str

    @classmethod
    def create(
        cls, folder: str | Path, config: TrainingConfig, progress: Progress | None = None
    ) -> Run:
        """Train the tokenizer and make the folder; nothing is written unless all of it fits.

        Parameters
        ----------
        folder : path
            Must not exist, or be empty.
        config : TrainingConfig
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
        refuse_used(folder)
        corpus = _load_source(config)
        if config.corpus == STANDARD_INPUT:  # kept in the run, to be read again
            config = dataclasses.replace(config, corpus=str((folder / TEXT).absolute()))
        elif not is_built_in(config.corpus):
            config = dataclasses.replace(config, corpus=str(Path(config.corpus).absolute()))
        run = cls(folder, config, train_tokenizer(config, corpus, progress), corpus.fingerprint)
        run.corpus = corpus
        run.windows  # noqa: B018  (raises if the text is too short)
        folder.mkdir(parents=True, exist_ok=True)
        if config.corpus == str((folder / TEXT).absolute()):
            write_atomically(folder / TEXT, corpus.documents[0].encode("utf-8"))
        run.tokenizer.save(folder / TOKENIZER)
        settings = {
            "training": config.to_dict(),
            "model": run.model_config.to_dict(),
            "corpus_fingerprint": corpus.fingerprint,
        }
        write_settings(folder, settings)
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Find the run in a folder.

        Raises
        ------
        FileNotFoundError
            If there is no run.
        ValueError
            If its config or tokenizer is damaged.
        """
        folder = Path(folder)
        settings = read_settings(folder)
        try:
            config = TrainingConfig.from_dict(settings["training"])
            fingerprint = settings["corpus_fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / CONFIG} is not a whole run config ({error}).") from None
        return cls(folder, config, tokenizers.load(folder / TOKENIZER), fingerprint)

    @property
    def model_config(self):
        """The model's shape, with the tokenizer's vocabulary."""
        return self.config.model_config(self.tokenizer.vocab_size)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        return read_metrics(self.folder / METRICS)

    @property
    def flows(self) -> list[Flow]:
        """The measurements in ``gradient_flow.jsonl``, oldest first."""
        return read_flows(self.folder / FLOW)

    @functools.cached_property
    def corpus(self) -> Corpus | TokenFolder:
        """The text, or the token files; read when first asked for."""
        corpus = _load_source(self.config, self.tokenizer)
        if corpus.fingerprint != self.corpus_fingerprint:
            raise ValueError(
                f"The text of {self.config.corpus} is not the one that {self.folder} was trained "
                "on: its SHA-256 differs."
            )
        return corpus

    @functools.cached_property
    def windows(self) -> tuple[TokenWindows, TokenWindows]:
        """The training and the held-out part of the text, encoded and cut."""
        config = self.config
        windows = []
        for part, ids, stride in (
            ("training", self._ids[0], config.stride),
            ("held-out", self._ids[1], config.context_length),
        ):
            if len(ids) <= config.context_length:
                raise ValueError(
                    f"The {part} part of {self.corpus.name} has {len(ids)} tokens, but a context "
                    f"of {config.context_length} needs at least {config.context_length + 1}: take "
                    "a longer text or a shorter context."
                )
            windows.append(TokenWindows(ids, config.context_length, stride))
        return windows[0], windows[1]

    @functools.cached_property
    def _ids(self):
        """The ids of the training and the held-out part."""
        if isinstance(self.corpus, TokenFolder):
            return self.corpus.train.ids, self.corpus.validation.ids
        parts = split_corpus(self.corpus, self.config.validation_fraction)
        return [encode_documents(documents, self.tokenizer) for documents in parts]

    def train_loader(self) -> DataLoader:
        """Make the shuffled batches to train on, at their first position."""
        return DataLoader(
            self.windows[0], self.config.batch_size, shuffle=True, seed=self.config.seed
        )

    def held_out_batches(self) -> HeldOutBatches:
        """Make the batches to evaluate on."""
        return HeldOutBatches(self.windows[1], self.config.batch_size, self.config.eval_batches)

    def new_model(self) -> GPT:
        """Make the model with its initial weights."""
        return GPT(self.model_config, seed=self.config.seed, recompute=self.config.recompute)

    def load_model(self, checkpoint: str = "best") -> GPT:
        """Make the model with the weights of a checkpoint, ready to generate.

        Parameters
        ----------
        checkpoint : {"best", "last"}
        """
        path = self.folder / CHECKPOINTS[checkpoint]
        arrays, _ = load_checkpoint(path)
        model = self.new_model()
        try:
            model.load_state_dict(without_prefix("model", arrays))
        except ValueError as error:
            raise ValueError(f"{path} does not fit the run's config: {error}") from None
        return model.eval()

    def trainer(self, callbacks: Sequence[Callback] = ()) -> Trainer:
        """Make the trainer of this run, at its first step; ``resume()`` takes up a checkpoint."""
        config = self.config
        model = self.new_model()
        logs: list[Callback] = [MetricsLog(self.folder / METRICS)]
        if config.gradient_flow:
            logs.append(GradientFlowLog(self.folder / FLOW, config.gradient_flow))
        return Trainer(
            model,
            self.train_loader(),
            self.held_out_batches(),
            steps=config.steps,
            optimizer=AdamW(
                model.parameters(),
                lr=config.lr,
                betas=(config.beta1, config.beta2),
                weight_decay=config.weight_decay,
            ),
            schedule=WarmupCosine(config.lr, config.min_lr, config.warmup_steps, config.steps),
            grad_accumulation=config.grad_accumulation,
            clip_norm=config.clip_norm,
            eval_every=config.eval_every,
            folder=self.folder,
            callbacks=[*logs, *callbacks],
        )


def _load_source(config: TrainingConfig, tokenizer: Tokenizer | None = None):
    """Read the text of a run, or open its token files."""
    if is_token_folder(config.corpus):
        return TokenFolder.open(config.corpus, tokenizer)
    return load_corpus(config.corpus, config.field, config.errors)


def train_tokenizer(
    config: TrainingConfig, corpus: Corpus | TokenFolder, progress: Progress | None = None
) -> Tokenizer:
    """Make the tokenizer of a run, as `make_tokenizer` does; token files have theirs."""
    if isinstance(corpus, TokenFolder):
        own = corpus.folder / TOKENIZER
        tokenizer = open_tokenizer(own) if own.is_file() else None
        if tokenizer is None:
            if config.tokenizer in ("bpe", "char", "word"):
                raise ValueError(
                    f"The token files in {corpus.folder} come without {TOKENIZER}; name the "
                    "tokenizer they were made with: --tokenizer gpt2, or the path of one."
                )
            tokenizer = make_tokenizer(config.tokenizer, list, list, 0, False)
        TokenFolder.open(corpus.folder, tokenizer)  # they must fit
        return tokenizer
    return make_tokenizer(
        config.tokenizer,
        lambda: split_corpus(corpus, config.validation_fraction)[0],
        lambda: corpus.documents,
        config.vocab_size,
        end_of_text=len(corpus.documents) > 1,
        progress=progress,
    )

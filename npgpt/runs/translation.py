"""A run of ``npgpt train --pairs``: a model that learns to translate, from scratch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from npgpt.data import BatchLoader, DataLoader, HeldOutBatches, LengthGrouped, TokenBudget
from npgpt.data.held_out import HeldOutBudget
from npgpt.data.pairs import (
    Pair,
    PairCorpus,
    PairParts,
    PairTexts,
    PairTokenizers,
    encode_pairs,
    read_pairs,
    split_pairs,
    train_tokenizers,
)
from npgpt.evaluation import exact_match
from npgpt.generation.translated import translate_texts
from npgpt.models import LanguageModel, ModelConfig
from npgpt.models.sequence_to_sequence import SequenceToSequence
from npgpt.runs.folder import refuse_used_by_run
from npgpt.runs.run import Run
from npgpt.runs.source import Progress
from npgpt.runs.translation_config import PairsConfig, TranslationConfig
from npgpt.training.callbacks import Callback
from npgpt.training.trainer import Trainer

NUM_SCORED = 200  # pairs of which each evaluation of a built-in task counts the right ones


@dataclasses.dataclass
class TranslationRun(Run):
    """A folder that ``npgpt train --pairs`` made.

    Attributes
    ----------
    folder, config, model_config
        As of any `Run`.
    tokenizer : PairTokenizers
        Of both sides.
    pairs_fingerprint : str
        SHA-256 of the pairs, so that a resumed run cannot go on with others.
    """

    tokenizer: PairTokenizers
    pairs_fingerprint: str

    kind = "translation"
    Config = TranslationConfig
    command = "npgpt train --pairs"
    refusal = (
        "translates, and does nothing else with a text: npgpt translate asks it for translations, "
        "and draws with --align where it looked."
    )

    @classmethod
    def create(
        cls, folder: str | Path, config: TranslationConfig, progress: Progress | None = None
    ) -> TranslationRun:
        """Read the pairs, learn the tokenizers, make the folder; nothing is written unless all fit.

        Parameters
        ----------
        folder : path
            Must not exist, or be empty.
        config : TranslationConfig
        progress : function, optional
            Called with (done, total) while a tokenizer learns.

        Raises
        ------
        FileExistsError
            If the folder holds something.
        FileNotFoundError, ValueError
            If pairs cannot be read, or there are too few of them.
        """
        folder = Path(folder)
        refuse_used_by_run(folder)
        run = cls.unwritten(config, progress, folder)
        with run._made():
            pass
        return run

    @classmethod
    def unwritten(
        cls,
        config: TranslationConfig,
        progress: Progress | None = None,
        folder: str | Path = "",
    ) -> TranslationRun:
        """Read the pairs and learn the tokenizers, without a folder.

        Parameters
        ----------
        config : TranslationConfig
        progress : function, optional
            As of `create`.
        folder : path
            Where the run would be.

        Raises
        ------
        FileNotFoundError, ValueError
            As of `create`.
        """
        config = config.changed(pairs=_absolute(config.pairs))
        corpus = _read(config.data)
        parts = split_pairs(corpus, config.validation_fraction)
        both = train_tokenizers(parts, config.tokenizer, config.data.vocab_size, progress)
        run = cls(Path(folder), config, _shape(config, both), both, corpus.fingerprint)
        run.corpus, run.parts = corpus, parts
        run.train_loader()
        run.held_out_batches()  # both raise if no pair fits
        return run

    def of_another_model(self, config: TranslationConfig) -> TranslationRun:
        """Return what is learned from the same pairs, which are not read again, by another model.

        Parameters
        ----------
        config : TranslationConfig
            Its data do not count.

        Raises
        ------
        ValueError
            If its context is another, by which pairs were left out.
        """
        if config.context_length != self.config.context_length:
            raise ValueError(
                f"TranslationRun: another model of the same pairs must have their context of "
                f"{self.config.context_length}, got {config.context_length}."
            )
        config = TranslationConfig(config.model, self.config.data, config.optimisation)
        shape = _shape(config, self.tokenizer)
        other = dataclasses.replace(self, config=config, model_config=shape)
        vars(other).update({name: vars(self)[name] for name in ("corpus", "parts", "texts")})
        vars(other)["_held_out"] = self._held_out
        return other

    def _write_tokenizer(self) -> None:
        self.tokenizer.save(self.folder)

    @classmethod
    def _read_tokenizer(cls, folder: Path) -> PairTokenizers:
        return PairTokenizers.load(folder)

    @functools.cached_property
    def corpus(self) -> PairCorpus:
        """The pairs; read when first asked for."""
        corpus = _read(self.config.data)
        if corpus.fingerprint != self.pairs_fingerprint:
            raise ValueError(
                f"The pairs of {self.config.pairs} are not those that {self.folder} was begun "
                "with: their SHA-256 differs."
            )
        return corpus

    @functools.cached_property
    def parts(self) -> PairParts:
        """The pairs to train on, and those that are held out."""
        return split_pairs(self.corpus, self.config.validation_fraction)

    @functools.cached_property
    def texts(self) -> tuple[PairTexts, PairTexts]:
        """Both parts, encoded; without the pairs that are longer than the context."""
        return self._encoded(self.parts.train)[0], self._held_out[0]

    @property
    def held_out(self) -> list[Pair]:
        """The held-out pairs that fit into the context."""
        return self._held_out[1]

    @functools.cached_property
    def _held_out(self) -> tuple[PairTexts, list[Pair]]:
        return self._encoded(self.parts.held_out)

    def _encoded(self, pairs: Sequence[Pair]) -> tuple[PairTexts, list[Pair]]:
        context, left_out = self.config.context_length, self.corpus.left_out
        return encode_pairs(pairs, self.tokenizer, context, left_out)

    def some_held_out(self, most: int) -> list[Pair]:
        """Return an even spread of the held-out pairs that fit, at most so many; 0 means all."""
        return PairParts(self.corpus.name, [], self.held_out).some_held_out(most)

    def train_loader(self) -> DataLoader:
        """Make the batches to train on, at their first position."""
        config, texts = self.config, self.texts[0]
        if config.batch_size:
            sampler = LengthGrouped(texts.lengths, config.batch_size)
            return DataLoader(
                texts, config.batch_size, shuffle=True, seed=config.seed, sampler=sampler
            )
        return BatchLoader(texts, TokenBudget(texts.lengths, config.batch_tokens), config.seed)

    def held_out_batches(self) -> HeldOutBudget | HeldOutBatches:
        """Make the batches to evaluate on."""
        config, texts = self.config, self.texts[1]
        if config.batch_size:
            return HeldOutBatches(texts, config.batch_size, config.eval_batches)
        budget = TokenBudget(texts.lengths, config.batch_tokens)
        return HeldOutBudget(texts, budget, config.eval_batches)

    def new_model(self) -> SequenceToSequence:
        """Make the model with its initial weights."""
        optimisation = self.config.optimisation
        options = {"recompute": True} if optimisation.recompute else {}
        model: SequenceToSequence = self.config.family(
            self.model_config, seed=optimisation.seed, **options
        )
        return model

    def load_language_model(self, checkpoint: str = "best") -> LanguageModel:
        """Raise ValueError: no such run makes a model that goes on with a text."""
        raise ValueError(f"{self.folder} {self.refusal}")

    def load_translator(self, checkpoint: str = "best") -> SequenceToSequence:
        """Make the model with the weights of a checkpoint, ready to translate.

        Parameters
        ----------
        checkpoint : {"best", "last"}
        """
        model: SequenceToSequence = self.load_model(checkpoint)
        return model

    def exact_match(self, model: SequenceToSequence, pairs: Sequence[Pair]) -> float:
        """Compute the share of pairs that a model translates as they are, greedily."""
        longest = max(map(len, self.tokenizer.encode_targets(pair.target for pair in pairs)))
        found = translate_texts(
            model,
            self.tokenizer,
            [pair.source for pair in pairs],
            max_new_tokens=longest + 2,  # the end token, and one too many: what is longer is wrong
        )
        return exact_match([best.text for (best,) in found], [pair.target for pair in pairs])

    def trainer(self, callbacks: Sequence[Callback] = ()) -> Trainer:
        """Make the trainer of this run, at its first step; ``resume()`` takes up a checkpoint."""
        loader, held_out = self.train_loader(), self.held_out_batches()
        model, config = self.new_model(), self.config.optimisation
        options = {}
        if self.corpus.built_in:
            scored = self.some_held_out(NUM_SCORED)
            options["scores"] = lambda: {"exact match": self.exact_match(model, scored)}
        return self._trainer(model, loader, held_out, config, callbacks, **options)


def _read(config: PairsConfig) -> PairCorpus:
    corpus = read_pairs(config.pairs)
    return corpus.swapped() if config.swap else corpus


def _shape(config: TranslationConfig, both: PairTokenizers) -> ModelConfig:
    source_size = None if both.is_joint else both.source.vocab_size
    return config.model_config(both.target.vocab_size, source_size)


def _absolute(pairs: str) -> str:
    """Return where pairs can be read from any folder."""
    if Path(pairs).is_file():
        return str(Path(pairs).absolute())
    for cut, character in enumerate(pairs):
        both = Path(pairs[:cut]), Path(pairs[cut + 1 :])
        if character == "," and all(path.is_file() for path in both):
            return ",".join(str(path.absolute()) for path in both)
    return pairs

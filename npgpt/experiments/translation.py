"""Translators beside each other: the same pairs, the same time, and the score by source length."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from npgpt import ops
from npgpt.data.pairs import Pair
from npgpt.evaluation import (
    BootstrapScore,
    evaluate,
    exact_match,
    paired_bootstrap,
    score_translations,
)
from npgpt.evaluation.translation import require_sacrebleu
from npgpt.generation import TranslatedText, translate_texts
from npgpt.optim import make_schedule
from npgpt.runs import TranslationConfig, TranslationRun
from npgpt.runs.run import make_optimizer
from npgpt.training import train_step

COMPARED = ("rnn", "rnn-attention", "transformer")  # the first is what others are held against
BINS = 12  # of source lengths, with about equally many pairs each
EXACT_MATCH, CHRF = "exact match", "chrF2"


@dataclasses.dataclass(frozen=True)
class LengthScore:
    """The score of the pairs whose sources have about one length.

    Attributes
    ----------
    shortest, longest : int
        Tokens of a source, its end not counted.
    count : int
        Pairs.
    score : float
    """

    shortest: int
    longest: int
    count: int
    score: float


@dataclasses.dataclass(frozen=True)
class TranslatorResult:
    """How one model learned to translate.

    Attributes
    ----------
    model : str
    parameters : int
    steps : int
    seconds : float
        Spent in them.
    pairs_per_second : float
        Of training.
    loss : float
        On held-out pairs, in nats a token.
    metric : str
        ``exact match`` of a built-in task, ``chrF2`` of others.
    score : float
        From 0 to 1, or from 0 to 100, of all translations.
    by_length : list of LengthScore
    longest_learned : int
        Tokens of the longest source among those that were learned.
    translations, references : list of str
        Of the held-out sources, which are the same for all models: what it made of them, and what
        it should.
    """

    model: str
    parameters: int
    steps: int
    seconds: float
    pairs_per_second: float
    loss: float
    metric: str
    score: float
    by_length: list[LengthScore]
    longest_learned: int
    translations: list[str]
    references: list[str]


@dataclasses.dataclass(frozen=True, repr=False)
class AlignedText:
    """Where a model looked as it translated one held-out source.

    Attributes
    ----------
    model : str
    run : TranslationRun
        Which has the tokenizers.
    found : TranslatedText
        With its alignment.
    """

    model: str
    run: TranslationRun
    found: TranslatedText

    def __repr__(self) -> str:
        return f"AlignedText({self.model!r}, {self.found!r})"


def compare_translators(
    config: TranslationConfig,
    models: Sequence[str] = COMPARED,
    seconds: float = 60.0,
    pairs: int = 2000,
    on_time: Callable[[str, float], object] = lambda model, spent: None,
    on_result: Callable[[TranslatorResult, AlignedText | None], object] = lambda *found: None,
) -> list[TranslatorResult]:
    """Train models for equally long on the same pairs, in the same order, and let them translate.

    All have as many layers, and the same width. Time counts while a model trains; a step of a model
    that is thrown away compiles the kernels before that.

    Parameters
    ----------
    config : TranslationConfig
        What ``npgpt train --pairs`` would be told; the family and steps do not count, and of its
        shape the layers, the width and dropout.
    models : sequence of str
        As ``npgpt train --pairs --model`` calls them.
    seconds : float
        Training time of each.
    pairs : int
        Held-out ones that are translated, greedily.
    on_time : function
        Called with (model, seconds spent) after each step.
    on_result : function
        Called with each result as soon as it is there, and with the alignment of the longest
        source; None of a model that has none.

    Returns
    -------
    list of TranslatorResult

    Raises
    ------
    ValueError
        If a model is unknown, a number not positive, or the pairs cannot be learned.
    ModuleNotFoundError
        If the task is not built in, and sacreBLEU is not there.
    """
    if not 0.0 < seconds < math.inf or pairs < 1:
        raise ValueError(
            "compare_translators: seconds must be positive and pairs at least 1, got "
            f"{seconds} and {pairs}."
        )
    configs = {name: config_like(config, name) for name in models}
    first = TranslationRun.unwritten(next(iter(configs.values())))
    if not first.corpus.built_in:
        require_sacrebleu()  # before the work, not behind it
    results = []
    for name, chosen in configs.items():
        run = first.of_another_model(chosen)
        _Training(run).train(1e-9, lambda spent: None)
        training = _Training(run)
        training.train(seconds, lambda spent, name=name: on_time(name, spent))  # type: ignore[misc]
        results.append(training.result(name, run.some_held_out(pairs)))
        on_result(results[-1], training.aligned(name))
    return results


def config_like(config: TranslationConfig, model: str) -> TranslationConfig:
    """Return the config of another family, with the layers, width, dropout and context of one.

    Raises
    ------
    ValueError
        If there is no such family.
    """
    names = ("context_length", "n_layers", "d_model", "dropout", "label_smoothing")
    shape = {name: getattr(config, name) for name in names}
    return TranslationConfig(model, config.data, config.optimisation, **shape)


def compare_scores(results: Sequence[TranslatorResult]) -> list[BootstrapScore]:
    """Say which models are better than the first by more than chance, see `paired_bootstrap`.

    Parameters
    ----------
    results : sequence of TranslatorResult
        At least two.
    """
    systems = {result.model: result.translations for result in results}
    return paired_bootstrap(systems, results[0].references)


class _Training:
    """One model, its batches, and how far it has come."""

    def __init__(self, run: TranslationRun):
        config = run.config
        self.run, self.model = run, run.new_model()
        self._optimizer = make_optimizer(self.model.parameters(), config.optimisation)
        self._schedule = make_schedule(
            config.schedule, config.lr, config.min_lr, config.warmup_steps, config.steps, 0
        )
        self._batches = run.train_loader().forever()
        self._step, self._pairs, self._seconds = 0, 0, 0.0

    def train(self, seconds: float, on_time: Callable[[float], object]) -> None:
        """Train for so many seconds."""
        with ops.Workspace():
            while self._seconds < seconds:
                began = perf_counter()
                batch = next(self._batches)
                self._optimizer.lr = self._schedule(self._step)
                clip_norm = self.run.config.clip_norm
                train_step(self.model.train(), self._optimizer, [batch], clip_norm)
                self._step += 1
                self._pairs += len(batch[0])
                self._seconds += perf_counter() - began
                on_time(min(self._seconds, seconds))

    def result(self, name: str, pairs: Sequence[Pair]) -> TranslatorResult:
        """Translate held-out pairs."""
        run = self.run
        built_in = run.corpus.built_in
        model = self.model
        model.eval()
        found = translate_texts(
            model,
            run.tokenizer,
            [pair.source for pair in pairs],
            max_new_tokens=run.config.context_length,
        )
        texts = [best.text for (best,) in found]
        references = [pair.target for pair in pairs]
        lengths = np.array([len(best.source_ids) - 1 for (best,) in found])
        bins = []
        for inside in _bins(lengths):
            of_bin = lengths[inside]
            chosen = [texts[i] for i in inside], [references[i] for i in inside]
            score = _score(*chosen, built_in)
            bins.append(LengthScore(int(of_bin.min()), int(of_bin.max()), len(inside), score))
        return TranslatorResult(
            name,
            model.num_parameters(),
            self._step,
            self._seconds,
            self._pairs / self._seconds,
            evaluate(model, run.held_out_batches()).loss,
            EXACT_MATCH if built_in else CHRF,
            _score(texts, references, built_in),
            bins,
            int(run.texts[0].source_lengths.max()) - 1,
            texts,
            references,
        )

    def aligned(self, name: str) -> AlignedText | None:
        """Translate the longest of a few held-out sources, and say where the model looked."""
        if not self.model.alignment_taps():
            return None
        source = max((pair.source for pair in self.run.some_held_out(100)), key=len)
        most = self.run.config.context_length
        ((found,),) = translate_texts(
            self.model, self.run.tokenizer, [source], max_new_tokens=most, alignments=True
        )
        return AlignedText(name, self.run, found)


def _score(translations: Sequence[str], references: Sequence[str], built_in: bool) -> float:
    if built_in:
        return exact_match(translations, references)
    return next(s.score for s in score_translations(translations, references) if s.metric == CHRF)


def _bins(lengths: np.ndarray) -> list[np.ndarray]:
    """Divide pairs by the lengths of their sources, about equally many in each bin."""
    edges = np.unique(np.quantile(lengths, np.arange(1, BINS) / BINS, method="higher"))
    places = np.searchsorted(edges, lengths, side="right")
    return [np.flatnonzero(places == place) for place in np.unique(places)]

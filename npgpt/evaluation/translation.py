"""How good translations are: exact match, and BLEU and chrF as sacreBLEU computes them.

BLEU: Papineni et al. 2002; chrF: Popović 2015; sacreBLEU: Post 2018 (arXiv 1804.08771), whose
signatures say all that the numbers depend on; the paired bootstrap: Koehn 2004.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

NEEDED = "BLEU and chrF need sacreBLEU: pip install 'npgpt[translate]' brings it."


@dataclasses.dataclass(frozen=True)
class TranslationScore:
    """What a metric says of translations.

    Attributes
    ----------
    metric : str
        ``BLEU`` or ``chrF2``, with which score and signature are to be quoted.
    score : float
        0 to 100.
    signature : str
    """

    metric: str
    score: float
    signature: str

    def __str__(self) -> str:
        return f"{self.metric} = {self.score:.2f} ({self.signature})"


@dataclasses.dataclass(frozen=True)
class BootstrapScore(TranslationScore):
    """The same of one system among several.

    Attributes
    ----------
    system : str
    mean, interval : float
        Of the scores of the resamples: their mean, and how far 95 per cent of them reach from it.
    p_value : float or None
        That a difference as large from the first system comes by chance; None for the first. Of
        the very same translations sacreBLEU says the smallest that there is, not 1.
    """

    system: str
    mean: float
    interval: float
    p_value: float | None

    def __str__(self) -> str:
        beside = "" if self.p_value is None else f", p = {self.p_value:.4f}"
        score = f"{self.score:.2f}, {self.mean:.2f} ± {self.interval:.2f}{beside}"
        return f"{self.system}: {self.metric} = {score} ({self.signature})"


def exact_match(translations: Sequence[str], references: Sequence[str]) -> float:
    """Compute the share of translations that are the reference, but for white space at the ends.

    Parameters
    ----------
    translations, references : sequence of str

    Raises
    ------
    ValueError
        If there are not equally many, or none.

    Examples
    --------
    >>> exact_match(["1987-03-14 ", "1987-03-15"], ["1987-03-14", "1987-03-14"])
    0.5
    """
    _check_equally_many("exact_match", translations, references)
    right = sum(t.strip() == r.strip() for t, r in zip(translations, references, strict=True))
    return right / len(references)


def score_translations(
    translations: Sequence[str], references: Sequence[str], tokenize: str | None = None
) -> list[TranslationScore]:
    """Compute BLEU and chrF2 of a whole set of translations.

    Parameters
    ----------
    translations, references : sequence of str
        Texts as people write them, not cut in tokens.
    tokenize : str, optional
        How BLEU cuts them in words, as sacreBLEU names it: ``13a`` by default, ``zh`` for Chinese,
        ``char`` for other languages without spaces.

    Raises
    ------
    ModuleNotFoundError
        Without sacreBLEU, the extra ``translate``.
    ValueError
        If there are not equally many, or none.
    """
    _check_equally_many("score_translations", translations, references)
    scores = []
    for metric in _metrics(tokenize).values():
        found = metric.corpus_score([*translations], [[*references]])
        scores.append(TranslationScore(found.name, found.score, str(metric.get_signature())))
    return scores


def paired_bootstrap(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    samples: int = 1000,
    tokenize: str | None = None,
) -> list[BootstrapScore]:
    """Compare systems with the first one on resamples of the same sentences.

    Parameters
    ----------
    systems : mapping of str to sequence of str
        Translations by the names of at least two systems.
    references : sequence of str
    samples : int
        How many sets are drawn, each of as many sentences as there are, with replacement.
    tokenize : str, optional
        As of `score_translations`.

    Returns
    -------
    list of BootstrapScore
        Of each metric, and in it of each system in its order.

    Raises
    ------
    ModuleNotFoundError
        Without sacreBLEU, the extra ``translate``.
    ValueError
        If there are not equally many sentences of each, or fewer than two systems.
    """
    if len(systems) < 2:
        raise ValueError(f"paired_bootstrap: needs two systems to compare, got {len(systems)}.")
    for name, translations in systems.items():
        _check_equally_many(f"paired_bootstrap: {name}", translations, references)
    metrics = _metrics(tokenize)
    from sacrebleu.significance import PairedTest

    named: Any = [(name, [*translations]) for name, translations in systems.items()]
    found: Any
    signatures, found = PairedTest(named, metrics, [[*references]], "bs", samples)()
    return [
        BootstrapScore(
            metric, r.score, str(signature), system, float(r.mean), float(r.ci), r.p_value
        )
        for metric, signature in signatures.items()
        for system, r in zip(systems, found[metric], strict=True)
    ]


def require_sacrebleu() -> None:
    """Raise ModuleNotFoundError, which says how to get it, if sacreBLEU is not there."""
    _metrics(None)


def _metrics(tokenize: str | None) -> dict[str, Any]:
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ModuleNotFoundError:
        raise ModuleNotFoundError(NEEDED) from None
    return {"BLEU": BLEU(tokenize=tokenize), "chrF2": CHRF()}


def _check_equally_many(what: str, translations: Sequence[str], references: Sequence[str]) -> None:
    if len(translations) != len(references) or not references:
        raise ValueError(
            f"{what}: there must be as many translations as references, and at least one, got "
            f"{len(translations)} and {len(references)}."
        )

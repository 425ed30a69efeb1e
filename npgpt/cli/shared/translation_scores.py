"""How good the translations of a run are, for npgpt eval."""

from __future__ import annotations

import dataclasses
import json

from npgpt.cli.shared.console import console
from npgpt.cli.shared.progress import compile_kernels, counting_bar, progress_bar
from npgpt.data import TokenBudget
from npgpt.data.held_out import HeldOutBudget
from npgpt.data.pairs import encode_pairs
from npgpt.evaluation import (
    Evaluation,
    TranslationScore,
    evaluate,
    exact_match,
    score_translations,
)
from npgpt.evaluation.translation import require_sacrebleu
from npgpt.generation import translate_texts
from npgpt.runs import TranslationRun

BATCH_TOKENS = 4096


@dataclasses.dataclass(frozen=True)
class RunScores:
    """What was measured on held-out pairs.

    Attributes
    ----------
    pairs : str
    checkpoint : str
    count : int
        Pairs that were translated.
    beams : int
    loss : Evaluation
    exact : float
        Share of translations that are the target.
    scores : list of TranslationScore
        BLEU and chrF; none of a built-in task.
    """

    pairs: str
    checkpoint: str
    count: int
    beams: int
    loss: Evaluation
    exact: float
    scores: list[TranslationScore]


def score_run(run: TranslationRun, checkpoint: str, limit: int, beams: int) -> RunScores:
    """Translate held-out pairs, and compute their loss.

    Raises
    ------
    ModuleNotFoundError
        If BLEU is asked for without sacreBLEU.
    """
    if not run.corpus.built_in:
        require_sacrebleu()  # before the work, not behind it
    pairs, config = run.some_held_out(limit), run.config
    compile_kernels(console, run.model_config)
    model = run.load_translator(checkpoint)
    texts, _ = encode_pairs(pairs, run.tokenizer)
    tokens = max(BATCH_TOKENS, int(texts.lengths.max()))
    batches = HeldOutBudget(texts, TokenBudget(texts.lengths, tokens))
    with counting_bar(console, "Evaluating", len(batches)) as on_batch:
        loss = evaluate(model, batches, on_batch=on_batch)
    with progress_bar(console, "Translating") as progress:
        found = translate_texts(
            model,
            run.tokenizer,
            [pair.source for pair in pairs],
            max_new_tokens=config.context_length,
            num_beams=beams,
            on_batch=progress,
        )
    translations, targets = [best.text for best, *_ in found], [pair.target for pair in pairs]
    scores = [] if run.corpus.built_in else score_translations(translations, targets)
    right = exact_match(translations, targets)
    return RunScores(run.corpus.name, checkpoint, len(pairs), beams, loss, right, scores)


def print_scores(scores: RunScores, as_json: bool) -> None:
    """Print them as lines, or as one object of JSON."""
    numbers = {
        "pairs": scores.pairs,
        "checkpoint": scores.checkpoint,
        "translated": scores.count,
        "beams": scores.beams,
        "tokens": scores.loss.tokens,
        "loss": scores.loss.loss,
        "perplexity": scores.loss.perplexity,
        "exact_match": scores.exact,
    }
    if as_json:
        told = {**numbers, "scores": [dataclasses.asdict(score) for score in scores.scores]}
        print(json.dumps(told))
        return
    for key, value in numbers.items():
        shown = f"{value:,.4f}" if isinstance(value, float) else value
        shown = f"{value:,}" if isinstance(value, int) else shown
        console.print(f"{key.replace('_', ' '):<18} {shown}", soft_wrap=True)
    for score in scores.scores:
        console.print(f"{score.metric:<18} {score.score:.2f}  {score.signature}", soft_wrap=True)

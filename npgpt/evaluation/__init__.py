"""How good a model is: its loss on held-out text, questions with examples, translations."""

from npgpt.evaluation.few_shot import FewShotResult, chance, evaluate_few_shot
from npgpt.evaluation.loss import Evaluation, Interrupted, evaluate
from npgpt.evaluation.translation import (
    BootstrapScore,
    TranslationScore,
    exact_match,
    paired_bootstrap,
    score_translations,
)

__all__ = [
    "BootstrapScore",
    "Evaluation",
    "FewShotResult",
    "Interrupted",
    "TranslationScore",
    "chance",
    "evaluate",
    "evaluate_few_shot",
    "exact_match",
    "paired_bootstrap",
    "score_translations",
]

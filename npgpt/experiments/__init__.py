"""Questions that a few models answer: each an experiment that anyone can repeat.

An experiment is a function that returns its numbers, `npgpt.plots.experiments` draws them, and
``npgpt experiment`` runs it.
"""

from npgpt.experiments.gradient_by_distance import (
    DistanceResult,
    compare_gradients,
    gradient_by_distance,
)
from npgpt.experiments.language_models import LanguageModelResult, compare_language_models
from npgpt.experiments.memory import MemoryResult, compare_memories
from npgpt.experiments.positions import PositionResult, compare_positions
from npgpt.experiments.translation import (
    AlignedText,
    LengthScore,
    TranslatorResult,
    compare_translators,
)
from npgpt.experiments.vanishing_gradients import DepthResult, vanishing_gradients

__all__ = [
    "AlignedText",
    "DepthResult",
    "DistanceResult",
    "LanguageModelResult",
    "LengthScore",
    "MemoryResult",
    "PositionResult",
    "TranslatorResult",
    "compare_gradients",
    "compare_language_models",
    "compare_memories",
    "compare_positions",
    "compare_translators",
    "gradient_by_distance",
    "vanishing_gradients",
]

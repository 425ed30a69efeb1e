"""Models: layers put together, with a loss."""

from npgpt.models.classifier import GPTForClassification
from npgpt.models.config import GPTConfig
from npgpt.models.gpt import GPT
from npgpt.models.memory import MemoryPlan
from npgpt.models.preference import GPTForPreference
from npgpt.models.trainable import Trainable

__all__ = [
    "GPT",
    "GPTConfig",
    "GPTForClassification",
    "GPTForPreference",
    "MemoryPlan",
    "Trainable",
]

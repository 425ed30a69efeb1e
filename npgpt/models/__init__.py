"""Models: layers put together, with a loss."""

from npgpt.models.config import GPTConfig
from npgpt.models.gpt import GPT
from npgpt.models.memory import MemoryPlan
from npgpt.models.model import MODELS, LanguageModel, Model, ModelConfig, Trainable, register
from npgpt.models.objectives.classification import GPTForClassification
from npgpt.models.objectives.preference import GPTForPreference

__all__ = [
    "GPT",
    "MODELS",
    "GPTConfig",
    "GPTForClassification",
    "GPTForPreference",
    "LanguageModel",
    "MemoryPlan",
    "Model",
    "ModelConfig",
    "Trainable",
    "register",
]

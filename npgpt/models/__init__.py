"""Models: layers put together, with a loss."""

from npgpt.models.config import GPTConfig
from npgpt.models.gpt import GPT
from npgpt.models.memory import MemoryPlan
from npgpt.models.trainable import Trainable

__all__ = ["GPT", "GPTConfig", "MemoryPlan", "Trainable"]

"""Models: layers put together, with a loss."""

from npgpt.models.config import GPTConfig
from npgpt.models.gpt import GPT
from npgpt.models.memory import MemoryPlan

__all__ = ["GPT", "GPTConfig", "MemoryPlan"]

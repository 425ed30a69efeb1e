"""Models: layers put together, with a loss."""

from npgpt.models.config import GPTConfig
from npgpt.models.gpt import GPT

__all__ = ["GPT", "GPTConfig"]

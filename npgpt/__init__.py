"""GPT in NumPy, with every gradient written by hand."""

from npgpt import data, layers, ops, optim, tokenizers
from npgpt.gradients import gradcheck
from npgpt.models import GPT, GPTConfig
from npgpt.training import Trainer

__version__ = "0.1.0"

__all__ = [
    "GPT",
    "GPTConfig",
    "Trainer",
    "data",
    "gradcheck",
    "layers",
    "ops",
    "optim",
    "tokenizers",
]

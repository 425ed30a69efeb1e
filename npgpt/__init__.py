"""GPT in NumPy, with every gradient written by hand."""

from npgpt import data, generation, gradients, layers, models, ops, optim, tokenizers, training
from npgpt.gradients import gradcheck
from npgpt.models import GPT, GPTConfig
from npgpt.training import Trainer
from npgpt.version import __version__

__all__ = [
    "GPT",
    "GPTConfig",
    "Trainer",
    "__version__",
    "data",
    "generation",
    "gradcheck",
    "gradients",
    "layers",
    "models",
    "ops",
    "optim",
    "tokenizers",
    "training",
]

"""GPT in NumPy, with every gradient written by hand."""

from npgpt import (
    data,
    finetuning,
    generation,
    gradients,
    layers,
    models,
    ops,
    optim,
    tokenizers,
    training,
)
from npgpt.gradients import gradcheck
from npgpt.models import GPT, GPTConfig
from npgpt.ops import get_num_threads, set_num_threads
from npgpt.training import Trainer
from npgpt.version import __version__

__all__ = [
    "GPT",
    "GPTConfig",
    "Trainer",
    "__version__",
    "data",
    "finetuning",
    "generation",
    "get_num_threads",
    "gradcheck",
    "gradients",
    "layers",
    "models",
    "ops",
    "optim",
    "set_num_threads",
    "tokenizers",
    "training",
]

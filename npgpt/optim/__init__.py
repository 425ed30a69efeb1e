"""Optimisation: optimisers by hand on one base, learning-rate schedules, gradient clipping."""

from npgpt.optim.adam import Adam, AdamW
from npgpt.optim.clipping import clip_grad_norm, grad_norm
from npgpt.optim.optimizer import Optimizer
from npgpt.optim.schedules import (
    SCHEDULES,
    Constant,
    CosineDecay,
    InverseSquareRoot,
    Joined,
    LinearDecay,
    Schedule,
    Warmup,
    WarmupCosine,
    make_schedule,
)
from npgpt.optim.sgd import SGD

# by the names that settings have for them
OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "CosineDecay",
    "InverseSquareRoot",
    "Joined",
    "LinearDecay",
    "Optimizer",
    "Schedule",
    "Warmup",
    "WarmupCosine",
    "clip_grad_norm",
    "grad_norm",
    "make_schedule",
]

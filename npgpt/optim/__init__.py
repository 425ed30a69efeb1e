"""Optimisation: Adam and AdamW by hand, learning-rate schedules, gradient clipping."""

from npgpt.optim.adam import Adam, AdamW
from npgpt.optim.clipping import clip_grad_norm, grad_norm
from npgpt.optim.schedules import WarmupCosine

__all__ = ["Adam", "AdamW", "WarmupCosine", "clip_grad_norm", "grad_norm"]

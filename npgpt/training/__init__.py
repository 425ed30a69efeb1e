"""Training: the loop, its checkpoints and metrics, and the folder that a run lives in."""

from npgpt.training.callbacks import Callback
from npgpt.training.checkpoints import load_checkpoint, save_checkpoint
from npgpt.training.config import TrainingConfig
from npgpt.training.evaluation import Evaluation, evaluate
from npgpt.training.memory import (
    measure_generation,
    measure_step,
    peak_resident_size,
    resident_size,
)
from npgpt.training.metrics import MetricsLog, read_metrics
from npgpt.training.open_model import OpenedModel, open_model
from npgpt.training.run import Run
from npgpt.training.step import train_step
from npgpt.training.trainer import Trainer, TrainingState

__all__ = [
    "Callback",
    "Evaluation",
    "MetricsLog",
    "OpenedModel",
    "Run",
    "Trainer",
    "TrainingConfig",
    "TrainingState",
    "evaluate",
    "load_checkpoint",
    "measure_generation",
    "measure_step",
    "open_model",
    "peak_resident_size",
    "read_metrics",
    "resident_size",
    "save_checkpoint",
    "train_step",
]

"""Training: the loop, its step, its callbacks, checkpoints and metrics."""

from npgpt.evaluation import Evaluation, evaluate
from npgpt.training.callbacks import Callback
from npgpt.training.checkpoints import load_checkpoint, save_checkpoint
from npgpt.training.metrics import MetricsLog, read_metrics
from npgpt.training.step import train_step
from npgpt.training.trainer import Trainer, TrainingState

__all__ = [
    "Callback",
    "Evaluation",
    "MetricsLog",
    "Trainer",
    "TrainingState",
    "evaluate",
    "load_checkpoint",
    "read_metrics",
    "save_checkpoint",
    "train_step",
]

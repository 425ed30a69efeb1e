"""Run folders: what decides a run, what it keeps, and what opens it or any other model."""

from npgpt.runs.config import DataConfig, OptimisationConfig, RunConfig
from npgpt.runs.finetuning import FineTuningRun
from npgpt.runs.measured_memory import (
    measure_generation,
    measure_step,
    peak_resident_size,
    resident_size,
)
from npgpt.runs.open import OpenedModel, open_model
from npgpt.runs.opened_bert import Candidate, FilledText, OpenedBert, holds_bert, open_bert
from npgpt.runs.pretraining import PretrainingRun
from npgpt.runs.run import Run
from npgpt.runs.translation import TranslationRun
from npgpt.runs.translation_config import (
    PairOptimisationConfig,
    PairsConfig,
    TranslationConfig,
)

TrainingConfig = RunConfig  # its name in earlier versions

__all__ = [
    "Candidate",
    "DataConfig",
    "FilledText",
    "FineTuningRun",
    "OpenedBert",
    "OpenedModel",
    "OptimisationConfig",
    "PairOptimisationConfig",
    "PairsConfig",
    "PretrainingRun",
    "Run",
    "RunConfig",
    "TrainingConfig",
    "TranslationConfig",
    "TranslationRun",
    "holds_bert",
    "measure_generation",
    "measure_step",
    "open_bert",
    "open_model",
    "peak_resident_size",
    "resident_size",
]

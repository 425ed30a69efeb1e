"""Fine-tuning: which parameters are trained, low-rank additions, tasks."""

from npgpt.finetuning.classification import ClassificationReport, encode_text, predict
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.freezing import train_only
from npgpt.finetuning.instructions import respond, score_responses
from npgpt.finetuning.lora import LoRAConfig, apply_lora, lora_layers, merge_lora

__all__ = [
    "ClassificationReport",
    "FineTuningConfig",
    "LoRAConfig",
    "apply_lora",
    "encode_text",
    "lora_layers",
    "merge_lora",
    "predict",
    "respond",
    "score_responses",
    "train_only",
]

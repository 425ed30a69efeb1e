"""Fine-tuning: which parameters are trained, low-rank additions, adapters on disk."""

from npgpt.finetuning.freezing import train_only
from npgpt.finetuning.lora import LoRAConfig, apply_lora, lora_layers, merge_lora

__all__ = ["LoRAConfig", "apply_lora", "lora_layers", "merge_lora", "train_only"]

"""The PyTorch twin that parity tests and golden files compare with; benchmarks run beside it too."""

from benchmarks.torch_gpt import TorchGPT, twin_name, twin_of, twin_optimizer

__all__ = ["TorchGPT", "twin_name", "twin_of", "twin_optimizer"]

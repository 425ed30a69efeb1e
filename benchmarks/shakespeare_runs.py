"""The two sides of the Shakespeare benchmark, each the program of one process.

Each prints a line of JSON at every evaluation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def _tell(step: int, loss: float) -> None:
    print(json.dumps({"step": step, "loss": loss}), flush=True)


def npgpt_run(text: str, setting: dict[str, Any], settings: dict[str, Any], folder: str) -> None:
    """Train with npgpt, as ``npgpt train`` does: checkpoints and metrics are written too."""
    from npgpt.runs import Run, TrainingConfig
    from npgpt.training import Callback

    class Tell(Callback):
        def on_evaluation(self, trainer, metrics):
            _tell(metrics.step, metrics.loss)

    warmup_steps = min(100, settings["steps"])
    config = TrainingConfig(corpus=text, warmup_steps=warmup_steps, **setting, **settings)
    Run.create(Path(folder) / "run", config).trainer([Tell()]).fit()


def torch_run(text: str, setting: dict[str, Any], settings: dict[str, Any], fused: bool) -> None:
    """Train the same GPT with PyTorch eager: a plain script, in the shape of nanoGPT's."""
    import itertools
    import math

    import torch

    from benchmarks.torch_gpt import TorchGPT, shape_of, start_as_gpt2, twin_optimizer

    steps, warmup = settings["steps"], min(100, settings["steps"])
    characters = Path(text).read_text(encoding="utf-8")
    vocabulary = {character: i for i, character in enumerate(sorted(set(characters)))}
    ids = np.array([vocabulary[character] for character in characters])
    cut = int(len(ids) * (1.0 - setting["validation_fraction"]))
    time, batch_size = setting["context_length"], setting["batch_size"]

    def batches(part: np.ndarray, order: np.ndarray):
        for begin in range(0, len(order), batch_size):
            starts = order[begin : begin + batch_size] * time
            rows = torch.from_numpy(np.stack([part[i : i + time + 1] for i in starts]))
            yield rows[:, :-1], rows[:, 1:]

    fields = {name: setting[name] for name in ("n_layers", "n_heads", "d_model", "bias", "dropout")}
    model = TorchGPT(shape_of({**fields, "vocab_size": len(vocabulary), "context_length": time}))
    start_as_gpt2(model, torch.Generator().manual_seed(settings["seed"]))
    betas = (setting["beta1"], setting["beta2"])
    options = {"fused": True} if fused else {}
    optimizer = twin_optimizer(model, setting["lr"], betas, setting["weight_decay"], **options)

    @torch.no_grad()
    def evaluate() -> float:
        held_out = ids[cut:]
        nats = tokens = 0.0
        for inputs, targets in batches(held_out, np.arange((len(held_out) - 1) // time)):
            nats += model.loss(inputs, targets).item() * targets.numel()
            tokens += targets.numel()
        return nats / tokens

    def rate(step: int) -> float:
        if step < warmup:
            return setting["lr"] * (step + 1) / (warmup + 1)
        share = (step - warmup) / max(1, steps - warmup)
        least = setting["min_lr"]
        return least + 0.5 * (1.0 + math.cos(math.pi * share)) * (setting["lr"] - least)

    step = 0
    for epoch in itertools.count():
        rng = np.random.default_rng([settings["seed"], epoch])  # as npgpt's loader
        for inputs, targets in batches(ids[:cut], rng.permutation((cut - 1) // time)):
            if step % settings["eval_every"] == 0 or step == steps:
                _tell(step, evaluate())
            if step == steps:
                return
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            optimizer.zero_grad(set_to_none=True)
            model.loss(inputs, targets).backward()
            optimizer.step()
            step += 1

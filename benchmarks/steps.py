"""One training step of each side: the same weights, batch, loss, clipping and AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

LR, BETAS, WEIGHT_DECAY, CLIP_NORM = 1e-4, (0.9, 0.95), 0.1, 1.0


def _model_and_batch(config: dict[str, Any], batch: int, time: int, recompute: bool = False):
    import npgpt

    model = npgpt.GPT(npgpt.GPTConfig(**config), seed=0, recompute=recompute).train()
    return model, *_batch(config, batch, time)


def _batch(config: dict[str, Any], batch: int, time: int):
    ids = np.random.default_rng(0).integers(0, config["vocab_size"], (batch, time + 1))
    return ids[:, :-1], ids[:, 1:]


def npgpt_step(
    config: dict[str, Any], batch: int, time: int, recompute: bool = False
) -> Callable[[], float]:
    """Make npgpt's step, which is that of `npgpt.Trainer`."""
    from npgpt.training import train_step

    model, optimizer, chosen = npgpt_side(config, batch, time, recompute)
    return lambda: train_step(model, optimizer, [chosen], CLIP_NORM)[0]


def npgpt_side(config: dict[str, Any], batch: int, time: int, recompute: bool = False):
    """Make npgpt's model, its optimiser, and the batch (inputs, targets)."""
    import npgpt
    from npgpt.optim import AdamW

    model, *chosen = _model_and_batch(config, batch, time, recompute)
    optimizer = AdamW(model.parameters(), LR, BETAS, weight_decay=WEIGHT_DECAY)
    npgpt.ops.Workspace().__enter__()  # until the process ends
    return model, optimizer, tuple(chosen)


def torch_step(
    config: dict[str, Any],
    batch: int,
    time: int,
    compile: bool = False,
    fused: bool = True,
    own_weights: bool = False,
) -> Callable[[], float]:
    """Make PyTorch's step, eager or compiled.

    ``fused`` takes PyTorch's fastest AdamW, otherwise its default. With ``own_weights`` PyTorch
    draws the weights itself: npgpt's model, from which they are copied else, would count in the
    memory of the process.
    """
    import torch

    from benchmarks.torch_gpt import TorchGPT, shape_of, twin_of, twin_optimizer

    if own_weights:
        twin = TorchGPT(shape_of(config)).train()
        inputs, targets = _batch(config, batch, time)
    else:
        model, inputs, targets = _model_and_batch(config, batch, time)
        twin = twin_of(model).train()
        del model
    inputs, targets = torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy())
    optimizer = twin_optimizer(twin, LR, BETAS, WEIGHT_DECAY, **({"fused": True} if fused else {}))
    loss_of = torch.compile(twin.loss) if compile else twin.loss

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), CLIP_NORM)
        optimizer.step()
        return loss.item()

    return step


def step_flops(config: dict[str, Any], batch: int, time: int) -> float:
    """Count the multiplications and additions that a step cannot do without.

    Each weight of a matrix product takes part in two of them a token forward and four backward;
    causal attention's two products of ``time / 2`` keys a query likewise. Recomputation and
    everything that is not a matrix product do not count.
    """
    d, layers, vocab = config["d_model"], config["n_layers"], config["vocab_size"]
    weights = layers * 12 * d * d + vocab * d
    attention = layers * 2 * d * time / 2
    return 6.0 * (weights + attention) * batch * time

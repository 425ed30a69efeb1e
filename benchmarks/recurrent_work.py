"""What each side does: one training step of an LSTM language model, and npgpt's generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.steps import BETAS, CLIP_NORM, LR, WEIGHT_DECAY

NEW = 64  # tokens that are generated in a turn
VOCABULARY = 65  # characters, as many as Tiny Shakespeare has


def _model(n_layers: int, d_model: int, time: int) -> Any:
    from npgpt.models import LSTMLM, LSTMConfig

    return LSTMLM(LSTMConfig(VOCABULARY, time, n_layers=n_layers, d_model=d_model)).train()


def _batch(batch: int, time: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (batch, time + 1))
    return ids[:, :-1].copy(), ids[:, 1:].copy()


def npgpt_step(n_layers: int, d_model: int, batch: int, time: int) -> Callable[[], float]:
    """Make npgpt's step, which is that of `npgpt.Trainer`."""
    import npgpt
    from npgpt.optim import AdamW
    from npgpt.training import train_step

    model = _model(n_layers, d_model, time)
    optimizer = AdamW(model.parameters(), LR, BETAS, weight_decay=WEIGHT_DECAY)
    npgpt.ops.Workspace().__enter__()  # until the process ends
    chosen = _batch(batch, time)
    return lambda: train_step(model, optimizer, [chosen], CLIP_NORM)[0]


def torch_step(
    n_layers: int, d_model: int, batch: int, time: int, compile: bool = False,
    own_weights: bool = False,
) -> Callable[[], float]:  # fmt: skip
    """Make PyTorch's step, eager or compiled, with its fused AdamW.

    With ``own_weights`` it draws the weights itself: npgpt's model would count in the memory of the
    process.
    """
    import torch

    from benchmarks.torch_gpt import twin_optimizer
    from benchmarks.torch_lstm import TorchLSTM, twin_of

    if own_weights:
        twin = TorchLSTM(VOCABULARY, d_model, n_layers)
    else:
        twin = twin_of(_model(n_layers, d_model, time))
    inputs, targets = (torch.from_numpy(ids) for ids in _batch(batch, time))
    optimizer = twin_optimizer(twin, LR, BETAS, WEIGHT_DECAY, fused=True)
    loss_of = torch.compile(twin.loss) if compile else twin.loss

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), CLIP_NORM)
        optimizer.step()
        return loss.item()

    return step


def served_by_onednn(n_layers: int, d_model: int, batch: int, time: int) -> Callable[[], float]:
    """Make a look at PyTorch's step: 1 if oneDNN does its LSTM forward and back, else 0."""
    import torch

    step = torch_step(n_layers, d_model, batch, time, own_weights=True)

    def look() -> float:
        with torch.profiler.profile() as profile:
            step()
        names = {event.key for event in profile.key_averages()}
        return float({"aten::mkldnn_rnn_layer", "aten::mkldnn_rnn_layer_backward"} <= names)

    return look


def npgpt_generation(n_layers: int, d_model: int) -> Callable[[str], Callable[[], float]]:
    """Make a function from how many tokens have been read to the work of reading `NEW` more."""
    model = _model(n_layers, d_model, NEW).eval()

    def made(task: str) -> Callable[[], float]:
        position = int(task)
        states = model.new_states(1, position)
        ids = np.random.default_rng(0).integers(0, VOCABULARY, (1, position))
        logits = [model.start(ids, np.array([position]), states)]

        def work() -> float:
            for _ in range(NEW):
                logits.append(model.step(logits.pop().argmax(axis=-1), states))
            return float(logits[0].mean())

        return work

    return made

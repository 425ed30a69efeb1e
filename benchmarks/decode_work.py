"""Generation of each side, on the same weights, as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PROMPT = 16
# task -> sequences, tokens of each prompt, new tokens
TASKS = {"single": (1, PROMPT, 64), "batch 8": (8, PROMPT, 16), "prefill": (1, 1023, 1)}
Work = Callable[[], float]


def make_model(folder: Path, config: dict[str, Any]) -> None:
    """Write a GPT-2 with drawn weights, larger than usual so that rounding decides no token."""
    import npgpt

    model = npgpt.GPT(npgpt.GPTConfig(**config))
    for parameter in model.parameters():
        if parameter.value.ndim == 2:
            parameter.value *= 4.0
    model.save_pretrained(folder)


def prompts(task: str, vocab_size: int) -> np.ndarray:
    batch, length, _ = TASKS[task]
    return np.random.default_rng(0).integers(0, vocab_size, (batch, length))


def npgpt_decode(folder: str, dtype: str, tasks: dict[str, tuple[int, int, int]] | None = None):
    """Make npgpt's side: a function from the task to the work."""
    import npgpt

    TASKS.update(tasks or {})
    model = npgpt.GPT.from_pretrained(folder, dtype)

    def made(task: str | None) -> Work:
        ids = prompts(task or "single", model.config.vocab_size)
        new = TASKS[task or "single"][2]

        def work() -> float:
            return float(model.generate(ids, new, temperature=0.0)[:, ids.shape[1] :].mean())

        return work

    return made


def transformers_decode(folder: str, tasks: dict[str, tuple[int, int, int]] | None = None):
    """Make transformers' side."""
    import torch
    import transformers

    TASKS.update(tasks or {})
    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def made(task: str | None) -> Work:
        ids = torch.from_numpy(prompts(task or "single", model.config.vocab_size))
        new = TASKS[task or "single"][2]
        mask = torch.ones_like(ids)

        def work() -> float:
            with torch.inference_mode():
                longer = model.generate(
                    ids, attention_mask=mask, max_new_tokens=new, min_new_tokens=new,
                    do_sample=False, pad_token_id=0, eos_token_id=None,
                )  # fmt: skip
            return float(longer[:, ids.shape[1] :].double().mean())

        return work

    return made


READ = 1 << 27  # numbers that `read_work` reads: half a gigabyte, about the weights of 124M


def read_work():
    """Make the work of reading memory once: decoding one stream cannot be faster."""
    from numba import get_num_threads, njit, prange

    @njit(fastmath=True)
    def total(numbers):
        result = np.float32(0.0)
        for i in range(numbers.size):
            result += numbers[i]
        return result

    @njit(parallel=True)
    def read(numbers, parts, totals):
        for part in prange(parts):
            begin, end = part * numbers.size // parts, (part + 1) * numbers.size // parts
            totals[part] = total(numbers[begin:end])

    numbers, parts = np.zeros(READ, np.float32), get_num_threads()
    numbers[:] = 1.0
    totals = np.zeros(parts, np.float32)

    def made(task: str | None) -> Work:
        def work() -> float:
            read(numbers, parts, totals)
            return float(totals.sum())

        return work

    return made

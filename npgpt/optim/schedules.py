"""Learning-rate schedules: functions from the step to the rate."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up, then half a cosine down to ``min_lr`` (Loshchilov and Hutter 2017,
    arXiv 1608.03983, eq. 5, with one cycle).

    Parameters
    ----------
    max_lr, min_lr : float
    warmup_steps : int
        Steps 0 to ``warmup_steps - 1`` rise linearly: step ``i`` has
        ``max_lr * (i + 1) / (warmup_steps + 1)``.
    total_steps : int
        From this step on, the rate is ``min_lr``.

    Raises
    ------
    ValueError
        If a number is negative, ``min_lr`` is above ``max_lr``, or the warm-up is longer than the
        whole.

    Examples
    --------
    >>> schedule = WarmupCosine(max_lr=1.0, min_lr=0.0, warmup_steps=3, total_steps=11)
    >>> [round(schedule(step), 2) for step in (0, 1, 2, 3, 7, 11)]
    [0.25, 0.5, 0.75, 1.0, 0.5, 0.0]
    """  # noqa: D205

    max_lr: float
    min_lr: float
    warmup_steps: int
    total_steps: int

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_lr <= self.max_lr:
            raise ValueError(
                "WarmupCosine: rates must satisfy 0 <= min_lr <= max_lr, got min_lr "
                f"{self.min_lr} and max_lr {self.max_lr}."
            )
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise ValueError(
                "WarmupCosine: steps must satisfy 0 <= warmup_steps <= total_steps, got "
                f"warmup_steps {self.warmup_steps} and total_steps {self.total_steps}."
            )

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.max_lr * (step + 1) / (self.warmup_steps + 1)
        if step >= self.total_steps:
            return self.min_lr
        done = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.min_lr + 0.5 * (1.0 + math.cos(math.pi * done)) * (self.max_lr - self.min_lr)

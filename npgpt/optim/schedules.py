"""Learning-rate schedules: functions from the step, counted from 0, to the rate.

They compose: `Warmup` puts a rise before any other, `Joined` lets one follow another.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable

Schedule = Callable[[int], float]  # from a step, counted from 0, to its learning rate


def _check(schedule: object, *, rates: tuple[str, ...] = (), steps: tuple[str, ...] = ()) -> None:
    """Raise ValueError if a rate is negative or not finite, or a number of steps is negative."""
    who = type(schedule).__name__
    for name in rates:
        if not 0.0 <= (rate := getattr(schedule, name)) < math.inf:
            raise ValueError(f"{who}: {name} must be at least 0 and finite, got {rate}.")
    for name in steps:
        if not (count := getattr(schedule, name)) >= 0:
            raise ValueError(f"{who}: {name} must be at least 0, got {count}.")


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same rate at every step.

    Parameters
    ----------
    lr : float
    """

    lr: float

    def __post_init__(self) -> None:
        _check(self, rates=("lr",))

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.lr


@dataclasses.dataclass(frozen=True)
class _Decay(abc.ABC):
    """Base of schedules that go from ``start`` to ``end`` in some steps, and stay there."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        _check(self, rates=("start", "end"), steps=("steps",))

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.end if step >= self.steps else self._rate(step / self.steps)

    @abc.abstractmethod
    def _rate(self, done: float) -> float:
        """Return the rate when this share of the steps is done."""


@dataclasses.dataclass(frozen=True)
class LinearDecay(_Decay):
    """A line from ``start`` at step 0 to ``end`` at step ``steps``, and ``end`` from there.

    Parameters
    ----------
    start, end : float
    steps : int

    Examples
    --------
    >>> [LinearDecay(1.0, 0.0, steps=4)(step) for step in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """

    def _rate(self, done: float) -> float:
        return self.start + done * (self.end - self.start)


@dataclasses.dataclass(frozen=True)
class CosineDecay(_Decay):
    """Half a cosine from ``start`` at step 0 to ``end`` at step ``steps``, and ``end`` from there.

    ``end + (1 + cos(pi step / steps)) / 2 (start - end)`` (Loshchilov and Hutter 2017, arXiv
    1608.03983, eq. 5, with one cycle).

    Parameters
    ----------
    start, end : float
    steps : int

    Examples
    --------
    >>> [round(CosineDecay(1.0, 0.0, steps=4)(step), 3) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.854, 0.5, 0.0, 0.0]
    """

    def _rate(self, done: float) -> float:
        return self.end + 0.5 * (1.0 + math.cos(math.pi * done)) * (self.start - self.end)


@dataclasses.dataclass(frozen=True)
class InverseSquareRoot:
    """``lr sqrt(timescale / (timescale + step))``: half the rate after three timescales.

    Behind a `Warmup` of ``timescale`` steps this is the schedule of Vaswani et al. 2017 (arXiv
    1706.03762, eq. 3), whose ``d_model^-0.5`` is a factor of the rate.

    Parameters
    ----------
    lr : float
        At step 0.
    timescale : int
        At least 1.

    Examples
    --------
    >>> [InverseSquareRoot(1.0, timescale=100)(step) for step in (0, 300, 9900)]
    [1.0, 0.5, 0.1]
    """

    lr: float
    timescale: int

    def __post_init__(self) -> None:
        _check(self, rates=("lr",))
        if not self.timescale >= 1:
            raise ValueError(
                f"InverseSquareRoot: timescale must be at least 1, got {self.timescale}."
            )

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.lr * math.sqrt(self.timescale / (self.timescale + step))


@dataclasses.dataclass(frozen=True)
class Joined:
    """One schedule after another, each with its own steps from 0.

    Parameters
    ----------
    first : function
    steps : int
        Those of the first.
    then : function
        From there on.

    Examples
    --------
    >>> schedule = Joined(Constant(1.0), 2, LinearDecay(1.0, 0.0, steps=2))
    >>> [schedule(step) for step in range(5)]
    [1.0, 1.0, 1.0, 0.5, 0.0]
    """

    first: Schedule
    steps: int
    then: Schedule

    def __post_init__(self) -> None:
        _check(self, steps=("steps",))

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.first(step) if step < self.steps else self.then(step - self.steps)


@dataclasses.dataclass(frozen=True)
class Warmup:
    """A linear rise to ``lr``, and another schedule behind it.

    Step ``i`` of the rise has ``lr (i + 1) / (steps + 1)``: the first is not 0, and the one after
    the last would be ``lr``.

    Parameters
    ----------
    lr : float
    steps : int
        Of the rise.
    then : function
        Its step 0 is the one after the rise.

    Examples
    --------
    >>> schedule = Warmup(1.0, 3, Constant(1.0))
    >>> [schedule(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    lr: float
    steps: int
    then: Schedule

    def __post_init__(self) -> None:
        _check(self, rates=("lr",), steps=("steps",))

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.steps:
            return self.lr * (step + 1) / (self.steps + 1)
        return self.then(step - self.steps)


@dataclasses.dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up, then half a cosine down to ``min_lr``: `Warmup` and `CosineDecay`.

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
    """

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

    @functools.cached_property
    def _parts(self) -> Warmup:
        steps = self.total_steps - self.warmup_steps
        return Warmup(self.max_lr, self.warmup_steps, CosineDecay(self.max_lr, self.min_lr, steps))

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self._parts(step)


SCHEDULES = ("cosine", "constant", "linear", "inverse-sqrt", "wsd")  # what `make_schedule` takes


def make_schedule(
    name: str, lr: float, min_lr: float, warmup_steps: int, steps: int, decay_steps: int = 0
) -> Schedule:
    """Make a schedule of `SCHEDULES`: a linear warm-up, and what its name says behind it.

    Parameters
    ----------
    name : {"cosine", "constant", "linear", "inverse-sqrt", "wsd"}
        Half a cosine; the same rate to the end; a line; one over the square root of the step; or
        warm-up, stable, decay: the same rate, and a line in the last ``decay_steps`` (Hu et al.
        2024, MiniCPM, arXiv 2404.06395, section 4), so that a run can be prolonged from where its
        decay begins.
    lr, min_lr : float
        The highest rate, and the one at the end; constant and inverse-sqrt do not read the latter.
    warmup_steps, steps : int
        Of the rise, and of the whole.
    decay_steps : int
        Of wsd.

    Returns
    -------
    function
        From the step, counted from 0, to the rate.

    Raises
    ------
    ValueError
        If there is no schedule of the name, or a number is out of range.

    Examples
    --------
    >>> schedule = make_schedule("wsd", 1.0, 0.0, warmup_steps=1, steps=7, decay_steps=2)
    >>> [schedule(step) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    after = steps - warmup_steps
    then: Schedule
    if name == "cosine":
        then = CosineDecay(lr, min_lr, after)
    elif name == "constant":
        then = Constant(lr)
    elif name == "linear":
        then = LinearDecay(lr, min_lr, after)
    elif name == "inverse-sqrt":
        then = InverseSquareRoot(lr, max(1, warmup_steps))
    elif name == "wsd":
        then = Joined(Constant(lr), after - decay_steps, LinearDecay(lr, min_lr, decay_steps))
    else:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}.")
    return Warmup(lr, warmup_steps, then)

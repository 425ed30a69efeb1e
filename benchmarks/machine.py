"""What the machine can do at most: single-precision matrix products, and memory traffic."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable

import numpy as np

SHAPES = ((1024, 3072, 768), (1024, 768, 3072), (2048, 2048, 2048))  # (m, n, k)


@dataclasses.dataclass(frozen=True)
class Machine:
    """Measured limits.

    Attributes
    ----------
    sgemm : float
        Multiplications and additions a second in float32, the best median over a few shapes.
    bandwidth : float
        Bytes a second that all threads together move in ``a = b + 3 c`` over large arrays, two read
        and one written (the triad of McCalpin's STREAM).
    """

    processor: str
    cores: int
    sgemm: float
    bandwidth: float

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores; sgemm {self.sgemm / 1e9:.0f} GFLOP/s, "
            f"memory {self.bandwidth / 1e9:.1f} GB/s"
        )


def measure(quick: bool = False) -> Machine:
    """Measure this machine, with NumPy and the BLAS it brought."""
    repetitions = 3 if quick else 15
    rates = []
    for m, n, k in SHAPES:
        a, b, c = np.ones((m, k), "f"), np.ones((k, n), "f"), np.empty((m, n), "f")
        seconds = _median_seconds(lambda: np.matmul(a, b, out=c), repetitions)  # noqa: B023
        rates.append(2.0 * m * n * k / seconds)
    return Machine(_processor(), os.cpu_count() or 1, max(rates), _bandwidth(repetitions))


def _bandwidth(repetitions: int) -> float:
    from numba import njit, prange  # not above: a process that measures PyTorch needs no Numba

    @njit(parallel=True)
    def triad(a, b, c):
        for i in prange(a.size):
            a[i] = b[i] + np.float32(3.0) * c[i]

    a, b, c = (np.ones(1 << 26, "f") for _ in range(3))
    return 3 * a.nbytes / _median_seconds(lambda: triad(a, b, c), repetitions)


SGEMM_WORK = 16 * 2.0 * 1024 * 3072 * 768  # operations of `sgemm_work`: about half a second


def sgemm_work() -> Callable[[], float]:
    """Make the work of some matrix products, to be run in turns with others."""
    a, b, c = np.ones((1024, 768), "f"), np.ones((768, 3072), "f"), np.empty((1024, 3072), "f")

    def work() -> float:
        for _ in range(16):
            np.matmul(a, b, out=c)
        return SGEMM_WORK

    return work


def _median_seconds(work: Callable[[], object], repetitions: int) -> float:
    work()
    seconds = []
    for _ in range(repetitions):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

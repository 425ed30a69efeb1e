"""How many processors this process may use: by its affinity, and by its control groups' quotas."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

DEFAULT_PERIOD = 100_000  # microseconds, where cpu.max holds the quota alone


def available_processors(root: str | Path = "/") -> int:
    """Return how many processors this process may use; at least 1.

    Those of its affinity (``taskset``), and no more than the quota of its control groups, rounded
    up, which is how containers are limited: ``docker run --cpus 1.5`` gives 2.

    Parameters
    ----------
    root : path
        Where ``proc`` and ``sys`` are.
    """
    limit = cgroup_limit(root)
    allowed = affinity()
    return allowed if limit is None else min(allowed, limit)


def affinity() -> int:
    """Return the number of processors that the system may run this process on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def cgroup_limit(root: str | Path = "/") -> int | None:
    """Return the smallest quota of this process's control groups, in processors, rounded up.

    Every group on the way from the process's own to the uppermost counts, in version 1 of Linux's
    control groups (``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``) and in version 2 (``cpu.max``).

    Parameters
    ----------
    root : path
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    int or None
        None if there is no limit, or no control group.
    """
    shares = [share for folder in _groups(Path(root)) if (share := _share(folder)) is not None]
    return max(1, math.ceil(min(shares))) if shares else None


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, each with those above it."""
    mounted = root / "sys" / "fs" / "cgroup"
    lines = _read(root / "proc" / "self" / "cgroup").splitlines()
    for line in lines:  # "4:cpu,cpuacct:/a/b" in version 1, "0::/a/b" in version 2
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        names = [controllers, "cpu"] if controllers else ["", "unified"]
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for name in names:
            # in a container the mount may begin at the process's own group
            for depth in range(len(parts), -1, -1):
                yield mounted.joinpath(name, *parts[:depth])


def _share(folder: Path) -> float | None:
    """Return the quota of a group in processors; None if there is none."""
    quota, period = [*_read(folder / "cpu.max").split(), "", ""][:2]
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us").strip()
        period = _read(folder / "cpu.cfs_period_us").strip()
    try:
        numbers = float(quota), float(period or DEFAULT_PERIOD)
    except ValueError:  # "max", or nothing that is known
        return None
    return numbers[0] / numbers[1] if min(numbers) > 0 else None  # -1 is no limit in version 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

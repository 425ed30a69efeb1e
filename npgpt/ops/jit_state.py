"""Whether Numba compiles at all."""

from __future__ import annotations

import os
import sys

VARIABLE = "NUMBA_DISABLE_JIT"  # for debuggers and coverage, which see Python code only


def jit_is_off() -> bool:
    """Say whether ``NUMBA_DISABLE_JIT`` is set, without importing Numba if nobody has."""
    numba = sys.modules.get("numba")
    if numba is not None and hasattr(numba, "config"):
        return bool(numba.config.DISABLE_JIT)
    try:
        return bool(int(os.environ.get(VARIABLE, "0")))
    except ValueError:  # Numba warns of it, and compiles
        return False

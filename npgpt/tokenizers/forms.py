"""Which code does the work: the compiled one, or Python's where Numba does not compile."""

from __future__ import annotations

import importlib
from typing import Any

from npgpt.ops.jit_state import jit_is_off


def forms() -> Any:
    """Return the module with the encoders, decoders and counts, and learn_merges."""
    room = "reference" if jit_is_off() else "compiled"
    return importlib.import_module(f"npgpt.tokenizers.{room}.forms")

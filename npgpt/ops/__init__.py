"""Mathematics without state: forward/backward pairs, in two implementations of the same names.

`npgpt.ops.reference` is NumPy and reads like the derivation; `npgpt.ops.compiled` is Numba and is
made for speed. This module hands out one of them: ``ops.layer_norm_forward`` is the compiled
function unless `use` chose otherwise, or Numba's compiler is off. An operation without a compiled
form is the reference's.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from npgpt.ops import reference
from npgpt.ops.jit_state import VARIABLE, jit_is_off
from npgpt.ops.mask import Mask
from npgpt.ops.reference import DropoutKey
from npgpt.ops.reference.cross_entropy import IGNORE_INDEX
from npgpt.ops.threads import get_num_threads, obey_environment, set_num_threads
from npgpt.ops.workspace import Workspace, empty, head_chunk_rows

if TYPE_CHECKING:  # for mypy and editors: each operation is what the reference's is
    from npgpt.ops.reference import *  # noqa: F403

__all__ = [
    "BACKENDS",
    "IGNORE_INDEX",
    "OPERATIONS",
    "DropoutKey",
    "Mask",
    "Workspace",
    "backend",
    "empty",
    "get_num_threads",
    "head_chunk_rows",
    "set_num_threads",
    "use",
]

BACKENDS = ("compiled", "reference")  # what `use` takes; the first is the default
OPERATIONS: tuple[str, ...] = tuple(vars(reference)["__all__"])  # names of ops.<name>
_chosen: str | None = None


class use:
    """Choose the backend, for good or inside a ``with`` block.

    Parameters
    ----------
    name : {"compiled", "reference"}

    Raises
    ------
    ValueError
        If there is no backend of that name, or Numba does not compile.

    Notes
    -----
    The choice holds for the whole process, not for one thread.

    Examples
    --------
    >>> from npgpt import ops
    >>> with ops.use("reference"):
    ...     ops.backend()
    'reference'
    """

    def __init__(self, name: str):
        if name not in BACKENDS:
            raise ValueError(f"ops.use: no backend {name!r}; choose one of {', '.join(BACKENDS)}.")
        if name == "compiled" and jit_is_off():
            raise ValueError(
                f"ops.use: there are no compiled operations while {VARIABLE} is set; the reference "
                "is in use."
            )
        self.previous = backend()
        _bind(name)

    def __enter__(self) -> use:
        return self

    def __exit__(self, *exc_info: object) -> None:
        _bind(self.previous)


def backend() -> str:
    """Name the backend in use: "compiled" or "reference".

    Without a choice it is the compiled one, unless ``NUMBA_DISABLE_JIT`` is set.
    """
    return _chosen or ("reference" if jit_is_off() else "compiled")


def _bind(name: str) -> None:
    """Put every operation of the backend into this module's namespace."""
    global _chosen
    if name == "compiled":
        obey_environment()
    module = importlib.import_module(f"npgpt.ops.{name}")
    for op in OPERATIONS:
        globals()[op] = getattr(module, op, getattr(reference, op))
    _chosen = name


if not TYPE_CHECKING:  # with it, mypy would take any name for an operation

    def __getattr__(name: str) -> Callable[..., Any]:
        # Numba takes half a second to import, so the first operation asked for loads the backend.
        if name in OPERATIONS and _chosen is None:
            _bind(backend())
            return globals()[name]
        raise AttributeError(f"module 'npgpt.ops' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *OPERATIONS})

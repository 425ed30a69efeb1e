"""Machine code on disk: a cache that may be missing, full, damaged or shared, and never an error.

Numba keeps what it compiled beside the source, or in the user's cache folder where that cannot be
written, or in ``NUMBA_CACHE_DIR``. Where none of them can be written it refuses to make a kernel,
and where a file cannot be read or written the error of the file ends the call. Kernels work without
a cache, only later; so here such an error is said once and the work goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from numba.core.caching import FunctionCache

LOCK = "npgpt.lock"

logger = logging.getLogger(__name__)
_told = False


class KernelCache(FunctionCache):
    """Numba's cache of a function, which compiles anew instead of raising errors."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Read machine code; None where there is none, or it is damaged.

        Parameters
        ----------
        sig : tuple of numba types
            Of the arguments.
        target_context : numba context
            The processor that the code is for.
        """
        try:
            return super().load_overload(sig, target_context)
        except OSError as error:
            _tell(f"{self.cache_path} cannot be read: {error}")
        except Exception:  # whatever a file raises that was cut short: it is written anew
            with contextlib.suppress(OSError):
                self.flush()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write machine code, if that is possible.

        Parameters
        ----------
        sig : tuple of numba types
            Of the arguments.
        data : numba CompileResult
            What was compiled.
        """
        try:
            with _alone_in(self.cache_path):
                super().save_overload(sig, data)
        except OSError as error:
            _tell(f"{self.cache_path} cannot be written: {error}")


def keep(compiled: Any) -> Any:
    """Give a kernel a cache on disk, if there is a place for it; a decorator above ``njit``."""
    if not hasattr(compiled, "py_func"):
        return compiled  # NUMBA_DISABLE_JIT is set, and this is a plain function
    try:
        compiled._cache = KernelCache(compiled.py_func)  # as its enable_caching does
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _tell("neither npgpt's folder nor the user's cache folder can be written")
    return compiled


def _tell(why: str) -> None:
    global _told
    if not _told:
        _told = True
        logger.warning(
            "Compiled kernels are not kept, so that every start compiles them again, because %s; "
            "set NUMBA_CACHE_DIR to a folder that can be written.",
            why,
        )


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Let one process at a time write to a folder.

    Numba reads the index, takes the next free name for the code, and writes both: of two processes
    that do so at once, one would read the other's code under its own key.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):  # Windows; file systems without locks
            import fcntl

            os.makedirs(folder, exist_ok=True)
            file = stack.enter_context(open(os.path.join(folder, LOCK), "a"))
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        yield

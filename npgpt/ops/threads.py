"""How many threads work: Numba's, which run the kernels, and BLAS's, together."""

from __future__ import annotations

import os
import sys

from npgpt.ops import team
from npgpt.ops.processors import affinity, available_processors

VARIABLE = "NPGPT_NUM_THREADS"
NUMBAS = "NUMBA_NUM_THREADS"  # how many threads Numba can have at most; read when it is imported
# a BLAS library obeys its own variable, or OpenMP's
BLAS_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
MOST = 4096
_obeyed = False  # whether the environment has been read


def set_num_threads(num_threads: int) -> None:
    """Let this many threads work, in compiled kernels and in NumPy's matrix products.

    Parameters
    ----------
    num_threads : int
        From 1 to the number of processors that this process may use (see
        `npgpt.ops.processors.available_processors`), or to ``NPGPT_NUM_THREADS`` of the environment
        if the process was started with that.

    Raises
    ------
    ValueError
        If the number is out of range.

    Notes
    -----
    For kernels the number holds in the thread that calls this, as Numba has it. With one thread no
    kernel uses OpenMP. In a process that was forked from one with kernels they run on one thread,
    whatever the number is; see `npgpt.ops.team`.

    Examples
    --------
    >>> import npgpt
    >>> before = npgpt.get_num_threads()
    >>> npgpt.set_num_threads(1)
    >>> npgpt.get_num_threads()
    1
    >>> npgpt.set_num_threads(before)
    """
    obey_environment()
    _set(num_threads)


def _set(num_threads: int) -> None:
    import numba
    import threadpoolctl

    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if not hasattr(num_threads, "__index__") or not 1 <= num_threads <= most:
        raise ValueError(
            f"set_num_threads: the number must be from 1 to {most}, got {num_threads}; for more, "
            f"start the process with {VARIABLE} in its environment and import npgpt before numba."
        )
    numba.set_num_threads(num_threads)
    threadpoolctl.threadpool_limits(num_threads, user_api="blas")


def get_num_threads() -> int:
    """Return how many threads the kernels use."""
    obey_environment()
    if team.is_alone():
        return 1
    import numba

    return numba.get_num_threads()


def number_from_environment() -> int | None:
    """Return ``NPGPT_NUM_THREADS``, or None if it is not set.

    Raises
    ------
    ValueError
        If it is not a positive whole number, or above 4,096.
    """
    return _number(VARIABLE)


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    if not text.isdecimal() or not text.strip("0"):
        raise ValueError(f"{variable} must be a positive whole number, got {text[:40]!r}.")
    if len(text) > len(str(MOST)) or int(text) > MOST:
        raise ValueError(f"{variable} must be at most {MOST:,}, got {text[:40]}.")
    return int(text)


def obey_environment() -> None:
    """Let as many threads work as the environment says, the first time this is called.

    ``NPGPT_NUM_THREADS`` is what counts, for kernels and BLAS. Without it kernels have the threads
    of ``NUMBA_NUM_THREADS``, BLAS those of its own variable; where that is not set either, as many
    as processors may be used.

    Raises
    ------
    ValueError
        If ``NPGPT_NUM_THREADS`` is no such number, or more than Numba was imported with.
    """
    global _obeyed
    if _obeyed:
        return
    number = number_from_environment()
    if number is None:
        _obey_quota()
    else:
        _obey(number)
    _obeyed = True


def _obey(number: int) -> None:
    if "numba" not in sys.modules:
        if number > (_number(NUMBAS) or affinity()):
            os.environ[NUMBAS] = str(number)  # else Numba would refuse it
    else:
        import numba

        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        if number > most:
            raise ValueError(
                f"{VARIABLE} is {number}, but Numba was imported before npgpt's kernels and can "
                f"have no more than {most}: set {NUMBAS} to {number} as well, or import Numba "
                "after npgpt's first operation."
            )
    _set(number)


def _obey_quota() -> None:
    """Use no more threads than a container's quota, of which Numba and BLAS know nothing."""
    number = available_processors()
    if number >= affinity():
        return
    if NUMBAS not in os.environ:
        if "numba" not in sys.modules:
            os.environ[NUMBAS] = str(number)  # holds in all threads
        else:
            import numba

            numba.set_num_threads(min(number, numba.get_num_threads()))
    if not any(os.environ.get(variable) for variable in BLAS_VARIABLES):
        import threadpoolctl

        threadpoolctl.threadpool_limits(number, user_api="blas")

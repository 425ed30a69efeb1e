"""How many threads work: Numba's, which run the kernels, and BLAS's, together."""

from __future__ import annotations

import os
import sys

VARIABLE = "NPGPT_NUM_THREADS"
_obeyed = False  # whether the environment has been read


def set_num_threads(num_threads: int) -> None:
    """Let this many threads work, in compiled kernels and in NumPy's matrix products.

    Parameters
    ----------
    num_threads : int
        From 1 to the number of processors, or to ``NPGPT_NUM_THREADS`` of the environment if the
        process was started with that.

    Raises
    ------
    ValueError
        If the number is out of range.

    Notes
    -----
    For kernels the number holds in the thread that calls this, as Numba has it.

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
    import numba
    import threadpoolctl

    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if not 1 <= num_threads <= most:
        raise ValueError(
            f"set_num_threads: the number must be from 1 to {most}, got {num_threads}; for more, "
            f"start the process with {VARIABLE} in its environment and import npgpt before numba."
        )
    numba.set_num_threads(num_threads)
    threadpoolctl.threadpool_limits(num_threads, user_api="blas")


def get_num_threads() -> int:
    """Return how many threads the kernels use."""
    obey_environment()
    import numba

    return numba.get_num_threads()


def number_from_environment() -> int | None:
    """Return ``NPGPT_NUM_THREADS``, or None if it is not set.

    Raises
    ------
    ValueError
        If it is not a positive whole number.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{VARIABLE} must be a positive whole number, got {text!r}.")
    return int(text)


def obey_environment() -> None:
    """Use as many threads as ``NPGPT_NUM_THREADS`` says, the first time this is called."""
    global _obeyed
    if _obeyed:
        return
    number = number_from_environment()
    _obeyed = True
    if number is None:
        return
    if number > (os.cpu_count() or 1) and "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(number))  # else Numba would refuse it
    set_num_threads(number)

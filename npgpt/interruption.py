"""Ctrl-C at any moment of the npgpt command: a line and a status, not Python's traceback.

The package's `__init__` imports this file first, because most of the time in which nothing can be
lost yet passes while the libraries load.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

INTERRUPTED = 130  # what a shell reports for a program that SIGINT ended
SCRIPTS = ("npgpt", "npgpt.exe", "npgpt-script.py")


def is_command() -> bool:
    """Tell whether this process is ``npgpt ...`` or ``python -m npgpt ...``, as it begins."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    if name == "-m":  # Python looks for the module, and imports its package for that
        return any(word.removeprefix("-m") == "npgpt" for word in sys.orig_argv)
    return os.path.basename(name) in SCRIPTS


def end_quietly(number: int, frame: Any) -> None:
    """End the process, from a signal's handler."""
    with contextlib.suppress(OSError):
        os.write(2, b"\nInterrupted.\n")
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt while the block runs, which may have to tidy up."""
    if signal.getsignal(signal.SIGINT) is not end_quietly:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, end_quietly)


if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, end_quietly)

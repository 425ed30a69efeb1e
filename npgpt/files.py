"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block succeeds.

    The content is flushed to the disk before the rename and the folder after it, so that a kill or
    a power cut at any moment leaves the old file or the new one. If the block raises, the temporary
    file is removed and ``path`` is untouched.

    Parameters
    ----------
    path : path
        Its folder must exist.

    Yields
    ------
    Path
        For a library that writes a file by its name.
    """
    path = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only the owner reads
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _flush_to_disk(path.parent)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write bytes to a file by way of `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Files that are there whole or not at all, and folders that must not be written over."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

# in the folder of a model, a run or token files, whoever wrote it
CONFIG, TOKENIZER = "config.json", "tokenizer.json"


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

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    OSError
        If the file cannot be written, as on a full disk.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} in.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    # not tempfile.mkstemp, whose files only the owner reads: here the umask decides, as in open()
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    try:
        yield temporary
        os.chmod(temporary, mode)  # the library may have put a file of its own in its place
        _flush_to_disk(temporary, os.O_RDWR)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        named = isinstance(error, OSError) and error.filename not in (None, str(temporary))
        if isinstance(error, OSError) and error.errno is not None and not named:
            # a full disk is reported without a name, or with one that the user never saw
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _flush_to_disk(path.parent, os.O_RDONLY)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write bytes to a file that is there whole or not at all.

    Parameters
    ----------
    path : path
        Its folder must exist.
    content : bytes

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def refuse_used(folder: str | Path, instead: str = "choose another folder") -> None:
    """Raise FileExistsError unless a folder is yet to be made, or empty.

    Parameters
    ----------
    folder : path
    instead : str
        What the error says to do.
    """
    folder = Path(folder)
    if any(folder.iterdir()) if folder.is_dir() else os.path.lexists(folder):
        raise FileExistsError(f"{folder} exists already; {instead}.")


def _flush_to_disk(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""One safetensors file."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from npgpt.files import atomic_path
from npgpt.hub.weights import Shape

FORMAT = {"format": "pt"}  # transformers loads no file that does not say what made its arrays
PIECE = 1 << 23  # bytes that are read and converted at a time

# How the file's numbers are read; bfloat16, which NumPy does not have, as its bits.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class Tensor(NamedTuple):
    """Where in its file an array begins, and what it is."""

    begin: int
    dtype: str
    shape: Shape


class SafetensorsFile:
    """The arrays of a safetensors file, read when asked for.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    tensors : dict of str to Tensor
    shapes : dict of str to tuple

    Raises
    ------
    ValueError
        If the file is damaged.
    """

    def __init__(self, path: Path):
        self.path, self.tensors = path, _read_header(path)
        self.shapes = {name: tensor.shape for name, tensor in self.tensors.items()}

    def read_into(self, name: str, destination: np.ndarray) -> None:
        """Copy an array into one of ours, a piece at a time, converted on the way.

        The file is mapped to memory and each piece of the map given back when it has been copied,
        so that the array is never in memory twice.

        Parameters
        ----------
        name : str
        destination : ndarray
            Of the array's shape; it may be a view.
        """
        tensor = self.tensors[name]
        rows = destination.reshape(-1, destination.shape[-1])
        dtype = np.dtype(DTYPES[tensor.dtype])
        row_bytes = rows.shape[1] * dtype.itemsize
        step = max(1, PIECE // row_bytes)
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            place = tensor.begin + first * row_bytes
            start = place - place % mmap.ALLOCATIONGRANULARITY
            length = place - start + part.size * dtype.itemsize
            with (
                open(self.path, "rb") as file,
                mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=start) as memory,
            ):
                numbers = np.frombuffer(memory, dtype, part.size, place - start)
                if tensor.dtype == "BF16":
                    numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
                part[...] = numbers.reshape(part.shape)
                del numbers  # it refers to the map, which could not be closed


def write_safetensors(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] = FORMAT
) -> None:
    """Write arrays, made contiguous, to a file that is there whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    RuntimeError
        If the package safetensors is not installed.
    """
    safetensors = library()
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with atomic_path(path) as temporary:
        try:
            safetensors.numpy.save_file(contiguous, temporary, metadata=dict(metadata))
        except safetensors.SafetensorError as error:
            raise OSError(f"{path} could not be written: {error}") from None


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all arrays of a file, and its metadata.

    Raises
    ------
    ValueError
        If the file is damaged; the message is the library's.
    RuntimeError
        If the package safetensors is not installed.
    """
    safetensors = library()
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, file.metadata() or {}
    except (safetensors.SafetensorError, TypeError) as error:  # TypeError: NumPy has no such dtype
        raise ValueError(str(error)) from None


def library() -> ModuleType:
    """Import safetensors when weights are read or written: all else goes without it."""
    try:
        import safetensors
        import safetensors.numpy
    except ModuleNotFoundError:
        raise RuntimeError(
            "Weights are kept in safetensors files: pip install safetensors brings what reads and "
            "writes them."
        ) from None
    return safetensors


def _read_header(path: Path) -> dict[str, Tensor]:
    """Say where the arrays of a file are."""
    safetensors = library()
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass  # the library checks that they are inside it, and as long as their shapes say
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}); it may have been cut short or "
            "changed."
        ) from None
    with open(path, "rb") as raw:
        size = int.from_bytes(raw.read(8), "little")
        header = json.loads(raw.read(size))
    header.pop("__metadata__", None)
    return {
        name: Tensor(8 + size + array["data_offsets"][0], array["dtype"], tuple(array["shape"]))
        for name, array in header.items()
        if array["dtype"] in DTYPES  # integers are masks, and a weight that is one will be missed
    }

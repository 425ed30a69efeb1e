"""Arrays in safetensors files, alone or in shards with an index."""

from __future__ import annotations

import dataclasses
import json
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from npgpt.files import atomic_path, write_atomically

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "*.bin", "*.pt", "*.pth", "*.ckpt")
PIECE = 1 << 23  # bytes that are read and converted at a time
SHARD = 5 * 10**9  # bytes of a file, at most, unless one array is larger

# How the file's numbers are read; bfloat16, which NumPy does not have, as its bits.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where an array is: its file, where it begins there, and what it is."""

    path: Path
    begin: int
    dtype: str
    shape: tuple[int, ...]


class TensorFiles:
    """The arrays of a folder, read when asked for.

    Parameters
    ----------
    folder : Path
        With ``model.safetensors``, or ``model.safetensors.index.json`` and the shards it names.

    Attributes
    ----------
    tensors : dict of str to Tensor

    Raises
    ------
    FileNotFoundError
        If there are no weights, or a shard is missing.
    ValueError
        If a file is damaged, the weights are a pickle, or the index names a file elsewhere.
    """

    def __init__(self, folder: Path):
        self.tensors: dict[str, Tensor] = {}
        for path in _weight_files(folder):
            self.tensors.update(_read_header(path))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each array's shape."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def read_into(self, name: str, destination: np.ndarray, transposed: bool = False) -> None:
        """Copy an array into one of ours, a piece at a time, converted on the way.

        The file is mapped to memory and each piece of the map given back when it has been copied,
        so that the array is never in memory twice.

        Parameters
        ----------
        name : str
        destination : ndarray
        transposed : bool
            Whether the file has it the other way round.
        """
        tensor = self.tensors[name]
        destination = destination.T if transposed else destination
        rows = destination.reshape(1, -1) if destination.ndim < 2 else destination
        dtype = np.dtype(DTYPES[tensor.dtype])
        row_bytes = rows.shape[1] * dtype.itemsize
        step = max(1, PIECE // row_bytes)
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            place = tensor.begin + first * row_bytes
            start = place - place % mmap.ALLOCATIONGRANULARITY
            length = place - start + part.size * dtype.itemsize
            with (
                open(tensor.path, "rb") as file,
                mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=start) as memory,
            ):
                numbers = np.frombuffer(memory, dtype, part.size, place - start)
                if tensor.dtype == "BF16":
                    numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
                part[...] = numbers.reshape(part.shape)
                del numbers  # it refers to the map, which could not be closed


def save_tensors(
    folder: Path, arrays: Iterable[tuple[str, np.ndarray]], shard_size: int = SHARD
) -> list[Path]:
    """Write arrays as transformers does: one file, or shards and an index.

    Parameters
    ----------
    folder : Path
    arrays : iterable of (str, ndarray)
        Made contiguous one shard at a time.
    shard_size : int
        Bytes of arrays in a file, at most, unless one array is larger.

    Returns
    -------
    list of Path
        The files.
    """
    shards: list[dict[str, np.ndarray]] = [{}]
    size = 0
    for name, array in arrays:
        if shards[-1] and size + array.nbytes > shard_size:
            shards.append({})
            size = 0
        shards[-1][name] = array
        size += array.nbytes
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    names = names if len(shards) > 1 else [SINGLE]
    for file, shard in zip(names, shards, strict=True):
        contiguous = {name: np.asarray(array, order="C") for name, array in shard.items()}
        with atomic_path(folder / file) as temporary:
            # transformers loads no file that does not say what made its arrays
            save_file(contiguous, temporary, metadata={"format": "pt"})
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(a.nbytes for shard in shards for a in shard.values())},
            "weight_map": {
                name: file for file, shard in zip(names, shards, strict=True) for name in shard
            },
        }
        write_atomically(folder / INDEX, (json.dumps(index, indent=2) + "\n").encode())
        names.append(INDEX)
    return [folder / name for name in names]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no {path.name} in {path.parent}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON ({error}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got a {type(content).__name__}.")
    return content


def _weight_files(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        return _shards(folder, read_json(folder / INDEX))
    pickles = [path.name for pattern in PICKLES for path in folder.glob(pattern)]
    if pickles:
        raise ValueError(
            f"{folder} has its weights in {pickles[0]}, a pickle, which can run code when it is "
            "read; npgpt reads safetensors only. Convert it where you trust it, with transformers: "
            f"AutoModelForCausalLM.from_pretrained({str(folder)!r}).save_pretrained('converted')."
        )
    others = sorted(folder.glob("*.safetensors"))
    if len(others) == 1:
        return others
    raise FileNotFoundError(f"There is no {SINGLE} in {folder}.")


def _shards(folder: Path, index: dict[str, Any]) -> list[Path]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{folder / INDEX} has no weight_map.")
    paths = []
    for file in sorted(set(map(str, weight_map.values()))):
        if file in ("", ".", "..") or "/" in file or "\\" in file:
            raise ValueError(
                f"{folder / INDEX} names the file {file!r}; a shard must be in the folder itself."
            )
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder} is not whole: there is no {file}, a shard of it.")
        paths.append(folder / file)
    return paths


def _read_header(path: Path) -> dict[str, Tensor]:
    """Say where the arrays of a file are; the library has checked that they are inside it."""
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            kinds = {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}); it may have been cut short or "
            "changed."
        ) from None
    with open(path, "rb") as raw:
        header_size = int.from_bytes(raw.read(8), "little")
        header = json.loads(raw.read(header_size))
    tensors = {}
    for name, (dtype, shape) in kinds.items():
        if dtype not in DTYPES:
            continue  # integers and booleans are masks, and a weight that is one will be missed
        begin = 8 + header_size + header[name]["data_offsets"][0]
        tensors[name] = Tensor(path, begin, dtype, shape)
    return tensors

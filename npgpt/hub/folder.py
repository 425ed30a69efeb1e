"""What a folder of a model holds: its config, and its arrays in a file or in shards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from npgpt.files import CONFIG, write_atomically
from npgpt.hub.architectures import Architecture, architecture_of
from npgpt.hub.containers.safetensors import SafetensorsFile, write_safetensors

OPENAI_CONFIG, GENERATION_CONFIG = "hparams.json", "generation_config.json"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (
    "pytorch_model.bin", "pytorch_model.bin.index.json", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl"
)  # fmt: skip
# weights that others keep beside, or instead of, safetensors
FOREIGN = {
    "*.gguf": "a GGUF file of llama.cpp",
    "*.onnx": "an ONNX graph",
    "*.npz": "an archive of NumPy's",
    "*.npy": "an array of NumPy's",
    "*.h5": "a file of TensorFlow's",
    "*.msgpack": "a file of Flax's",
    "*.ckpt.index": "a checkpoint of TensorFlow's",
    "*.ot": "a file of rust-bert's",
}
SHARD = 5 * 10**9  # bytes of a file, at most, unless one array is larger


class TensorFiles:
    """The arrays of a folder, read when asked for.

    Parameters
    ----------
    folder : Path
        With ``model.safetensors``, or ``model.safetensors.index.json`` and the shards it names.

    Attributes
    ----------
    files : list of SafetensorsFile
    shapes : dict of str to tuple

    Raises
    ------
    FileNotFoundError
        If there are no weights, or a shard is missing.
    ValueError
        If a file is damaged, the weights are a pickle, or the index names a file elsewhere.
    """

    def __init__(self, folder: Path):
        self.files = [SafetensorsFile(path) for path in _weight_files(folder)]
        self._file_of = {name: file for file in self.files for name in file.shapes}
        self.shapes = {name: file.shapes[name] for name, file in self._file_of.items()}

    def read_into(self, name: str, destination: np.ndarray) -> None:
        """Copy an array into one of the same shape, converted on the way; it may be a view."""
        self._file_of[name].read_into(name, destination)


def read_config(folder: Path) -> tuple[Architecture, dict[str, Any], str]:
    """Read the config of a folder, Hugging Face's or OpenAI's.

    Returns
    -------
    architecture : Architecture
        Of the model.
    fields : dict
        Of its config, ours.
    where : str
        The file that says so, for errors.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, or not that of a model as npgpt has it.
    """
    path = folder / CONFIG
    if not path.exists() and (folder / OPENAI_CONFIG).exists():
        path = folder / OPENAI_CONFIG
    content = read_json(path)
    architecture = architecture_of(content, str(path))
    return architecture, architecture.fields(content, str(path)), str(path)


def new_folder(folder: str | Path, overwrite: bool) -> Path:
    """Make the folder of a model, unless there is something that would be overwritten.

    Raises
    ------
    FileExistsError
        If it is a file, or holds something and ``overwrite`` is not set.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; save_pretrained writes a folder.")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(
            f"{folder} exists already and is not empty; choose another folder, or overwrite it "
            "with overwrite=True."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_tensors(
    folder: Path, arrays: Iterable[tuple[str, np.ndarray]], shard_size: int = SHARD
) -> None:
    """Write arrays as transformers does: one file, or shards and an index.

    Parameters
    ----------
    folder : Path
        Files of arrays that are in it are replaced: the shards of an earlier model would be read
        with the new ones.
    arrays : iterable of (str, ndarray)
        Made contiguous one shard at a time.
    shard_size : int
        Bytes of arrays in a file, at most, unless one array is larger.
    """
    before = set(folder.glob("model*.safetensors*"))
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
    files = dict(zip(names, shards, strict=True))
    for file, shard in files.items():
        write_safetensors(folder / file, shard)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(a.nbytes for shard in shards for a in shard.values())},
            "weight_map": {name: file for file, shard in files.items() for name in shard},
        }
        write_json(folder / INDEX, index)
        names.append(INDEX)
    for path in before - {folder / name for name in names}:
        path.unlink()


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
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no {path.name} in {path.parent}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON ({error}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got a {type(content).__name__}.")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object to a file that is there whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def _weight_files(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        return _shards(folder, read_json(folder / INDEX))
    others = _matching(folder, ["*.safetensors"])
    if len(others) == 1:
        return [folder / others[0]]
    if pickles := _matching(folder, PICKLES):
        raise ValueError(
            f"{folder} has its weights in {pickles[0]}, a pickle, which can run code when it is "
            "read; npgpt reads safetensors only. Convert it where you trust it, with transformers: "
            f"AutoModelForCausalLM.from_pretrained({str(folder)!r}).save_pretrained('converted')."
        )
    for pattern, kind in FOREIGN.items():
        if found := _matching(folder, [pattern]):
            raise ValueError(
                f"{folder} has its weights in {found[0]}, {kind}, which npgpt does not read; it "
                f"reads {SINGLE} only."
            )
    several = f", but {', '.join(others[:3])} without {INDEX}" if others else ""
    raise FileNotFoundError(f"There is no {SINGLE} in {folder}{several}.")


def _matching(folder: Path, patterns: Iterable[str]) -> list[str]:
    return [path.name for pattern in patterns for path in sorted(folder.glob(pattern))]


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

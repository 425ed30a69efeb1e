"""Checkpoints: arrays and state in one safetensors file, which is there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npgpt.hub.containers.safetensors import read_safetensors, write_safetensors

STATE_KEY = "npgpt"


def save_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Write arrays and JSON-ready state to one file, atomically.

    Parameters
    ----------
    path : Path
    arrays : mapping of str to ndarray
    state : mapping
        Kept in the file's header.
    """
    write_safetensors(path, arrays, {STATE_KEY: json.dumps(state)})


def load_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Parameters
    ----------
    path : Path

    Returns
    -------
    arrays : dict of str to ndarray
    state : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, corrupted, or not a checkpoint.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    try:
        arrays, metadata = read_safetensors(path)
        state = json.loads(metadata[STATE_KEY])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is not a whole checkpoint ({error}); it may have been cut short or changed."
        ) from None
    return arrays, state


def with_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put ``prefix.`` before every name.

    Parameters
    ----------
    prefix : str
    arrays : mapping of str to ndarray
    """
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def without_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Take the arrays whose names begin with ``prefix.``, without it.

    Parameters
    ----------
    prefix : str
    arrays : mapping of str to ndarray
    """
    start = f"{prefix}."
    return {
        name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
    }

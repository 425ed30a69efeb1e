"""What a folder says about generation: where a text ends, and what is never drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from npgpt.files import CONFIG
from npgpt.hub.folder import GENERATION_CONFIG, read_json


class GenerationIds(NamedTuple):
    """The token ids that a model's maker set apart; all empty where the folder names none.

    Attributes
    ----------
    eos_token_ids : tuple of int
        A text ends before any of them.
    suppressed_ids : tuple of int
        Never drawn.
    begin_suppressed_ids : tuple of int
        Not drawn as the first new token.
    """

    eos_token_ids: tuple[int, ...] = ()
    suppressed_ids: tuple[int, ...] = ()
    begin_suppressed_ids: tuple[int, ...] = ()


KEYS = ("eos_token_id", "suppress_tokens", "begin_suppress_tokens")  # of `GenerationIds`, in order


def read_generation_ids(folder: str | Path) -> GenerationIds:
    """Read the ids that ``generation_config.json`` and ``config.json`` set apart.

    Parameters
    ----------
    folder : path
        Of a model. Either file may be missing; of a key that both have, the first file's value
        counts, as in transformers, unless it is null.

    Returns
    -------
    GenerationIds

    Raises
    ------
    ValueError
        If a file is damaged, or a value is neither a token id nor a list of them.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "config.json").write_text('{"eos_token_id": [2, 7]}')
    >>> read_generation_ids(folder).eos_token_ids
    (2, 7)
    """
    said = said_of_generation(folder)
    return GenerationIds(*(_ids(said, key) for key in KEYS))


def said_of_generation(folder: str | Path) -> dict[str, tuple[Path, Any]]:
    """Read both files of a folder: what each key is, and which of them says so."""
    said: dict[str, tuple[Path, Any]] = {}
    for name in (GENERATION_CONFIG, CONFIG):
        path = Path(folder) / name
        if path.is_file():
            for key, value in read_json(path).items():
                if value is not None:
                    said.setdefault(key, (path, value))
    return said


def _ids(said: dict[str, tuple[Path, Any]], key: str) -> tuple[int, ...]:
    path, value = said.get(key, (None, []))
    ids = value if isinstance(value, list) else [value]
    if not all(type(i) is int and i >= 0 for i in ids):
        raise ValueError(f"{path}: {key} must be a token id or a list, got {value!r}.")
    return tuple(ids)

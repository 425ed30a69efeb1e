"""What a folder says about generation: where a text ends, and what is never drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from npgpt.hub.folder import CONFIG, GENERATION_CONFIG, read_json


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
    paths = [Path(folder) / name for name in (GENERATION_CONFIG, CONFIG)]
    contents = [(path, read_json(path)) for path in paths if path.is_file()]
    return GenerationIds(*(_first(contents, key) for key in KEYS))


def _first(contents: list[tuple[Path, dict[str, Any]]], key: str) -> tuple[int, ...]:
    for path, content in contents:
        if (value := content.get(key)) is not None:
            ids = value if isinstance(value, list) else [value]
            if not all(type(i) is int and i >= 0 for i in ids):
                raise ValueError(f"{path}: {key} must be a token id or a list, got {value!r}.")
            return tuple(ids)
    return ()

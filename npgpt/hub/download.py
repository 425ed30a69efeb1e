"""From a name to a folder: on this disk, or on the hub."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from npgpt.files import CONFIG, TOKENIZER

# owner/name or a name alone, as the hub allows them
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
# what a GPT-2 needs; no other file is downloaded, and no pickle
FILES = (
    CONFIG,
    "generation_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
)


TOKENIZER_FILES = (TOKENIZER, "vocab.json", "merges.txt")  # of which a folder needs some


def fetch(
    name_or_folder: str | Path, revision: str | None = None, files: Sequence[str] = FILES
) -> Path:
    """Return the folder of a model: one that is there, or the hub's, downloaded if need be.

    Parameters
    ----------
    name_or_folder : str or path
        A folder, or a name on the Hugging Face hub such as ``gpt2`` or
        ``openai-community/gpt2-medium``. A folder comes first.
    revision : str, optional
        A branch, tag or commit of the hub's repository.
    files : sequence of str
        Patterns of the files to download.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If there is no such folder, and no model of that name on the hub.
    OSError
        If the download fails.
    RuntimeError
        If it must be downloaded and huggingface_hub is not installed.

    Notes
    -----
    The hub's cache, access token and offline mode are huggingface_hub's: ``HF_HOME``, ``HF_TOKEN``,
    ``HF_HUB_OFFLINE``, ``HF_ENDPOINT``.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    name = str(name_or_folder)
    if folder.exists():
        raise FileNotFoundError(f"{folder} is a file; a model is a folder with config.json in it.")
    if not HUB_NAME.fullmatch(name) or name.startswith((".", "-")) or ".." in name:
        raise FileNotFoundError(f"There is no folder {folder}.")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise RuntimeError(
            f"There is no folder {name}; to download the model of that name from the Hugging Face "
            "hub, install huggingface_hub: pip install 'npgpt[hub]'."
        )
    return _download(name, revision, files)


def _download(name: str, revision: str | None, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except GatedRepoError:
        raise OSError(
            f"The model {name} is gated: accept its terms on the hub, and set HF_TOKEN."
        ) from None
    except RepositoryNotFoundError:
        raise FileNotFoundError(
            f"There is no folder {name}, and no model of that name on the hub that you may read."
        ) from None
    except RevisionNotFoundError:
        raise FileNotFoundError(f"The model {name} has no revision {revision!r}.") from None
    except LocalEntryNotFoundError:
        raise FileNotFoundError(
            f"There is no folder {name}; the hub cannot be reached (or HF_HUB_OFFLINE is set), and "
            "its cache does not hold that model."
        ) from None
    except HfHubHTTPError as error:
        first_line = str(error).strip().splitlines()[0]
        raise OSError(f"The download of {name} failed: {first_line}") from None

"""A GPT from a folder in Hugging Face's format, and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npgpt import hub
from npgpt.files import write_atomically
from npgpt.hub.names import block_count
from npgpt.layers import OutputHead
from npgpt.layers.core.init import Init
from npgpt.models.config import GPTConfig
from npgpt.tokenizers import Tokenizer

if TYPE_CHECKING:
    from npgpt.models.gpt import GPT

CONFIG, OPENAI_CONFIG, GENERATION_CONFIG = "config.json", "hparams.json", "generation_config.json"


def read_config(folder: Path) -> GPTConfig:
    """Read the config of a model folder in Hugging Face's format.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, or not that of a GPT-2 as npgpt has it.
    """
    path = folder / CONFIG
    if not path.exists() and (folder / OPENAI_CONFIG).exists():
        path = folder / OPENAI_CONFIG
    try:
        return GPTConfig(**hub.config_fields(hub.read_json(path), str(path)))
    except TypeError as error:
        raise ValueError(f"{path}: {error}.") from None


def load_pretrained(kind: type[GPT], folder: Path, dtype) -> GPT:
    """Make a model with the config and weights of a folder; see `GPT.from_pretrained`."""
    config = read_config(folder)
    files = hub.TensorFiles(folder)
    blocks = block_count(files.shapes)
    if blocks != config.n_layers:  # before n_layers of them are made
        raise ValueError(
            f"{folder} has weights of {blocks} blocks, but its config asks for {config.n_layers}."
        )
    sources = hub.match_names(config.to_dict(), files.shapes, str(folder))
    model = kind(config, init=Init(dtype=dtype, fill=False))
    for name, parameter in model.named_parameters():
        source = sources[name]
        files.read_into(source.name, parameter.value, source.transposed)
    return model.eval()


def save_pretrained(
    model: GPT, folder: str | Path, tokenizer: Tokenizer | None, shard_size: int, overwrite: bool
) -> None:
    """Write a folder that transformers loads; see `GPT.save_pretrained`."""
    config = model.config
    if not isinstance(model.head, OutputHead):
        raise ValueError(
            "save_pretrained: the model is for inference only, its weights were rounded to fewer "
            "bits; save the one in float32."
        )
    shape = {name: getattr(config, name) for name in hub.GPT2_FIELDS}
    if config.activation not in hub.ACTIVATIONS.values():
        del shape["activation"]
    gpt2 = GPTConfig(**shape)
    if gpt2 != config:
        others = [
            f"{field.name}={getattr(config, field.name)!r}"
            for field in dataclasses.fields(config)
            if getattr(config, field.name) != getattr(gpt2, field.name)
        ]
        raise ValueError(
            f"save_pretrained: Hugging Face's GPT-2 has no {', '.join(others)}; such a model is "
            "kept in a run folder."
        )
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; save_pretrained writes a folder.")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(
            f"{folder} exists already and is not empty; choose another folder, or overwrite it "
            "with overwrite=True."
        )
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.glob("model*.safetensors*"))
    arrays = hub.export_arrays(config.to_dict(), model.state_dict())
    written = hub.save_tensors(folder, arrays, shard_size)
    for path in before - set(written):  # shards of an earlier model would be read with the new ones
        path.unlink()
    end = tokenizer.end_of_text_id if tokenizer else None
    if tokenizer is not None:
        tokenizer.save(folder / "tokenizer.json")
    content = hub.config_json(config.to_dict(), end, model.dtype.name)
    _write_json(folder / GENERATION_CONFIG, {"bos_token_id": end, "eos_token_id": end})
    _write_json(folder / CONFIG, content)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())

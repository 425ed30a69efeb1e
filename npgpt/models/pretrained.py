"""A model from a folder in another's format, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npgpt import hub
from npgpt.hub.folder import CONFIG, GENERATION_CONFIG
from npgpt.layers import OutputHead
from npgpt.layers.base import uninitialized
from npgpt.layers.quantized import KINDS
from npgpt.models.config import GPTConfig
from npgpt.tokenizers import Tokenizer

if TYPE_CHECKING:
    from npgpt.models.gpt import GPT

CONFIGS = {"gpt": GPTConfig}  # by an architecture's kind


def read_config(folder: Path) -> GPTConfig:
    """Read the config of a model folder in another's format.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, or not that of a model as npgpt has it.
    """
    return _read_config(folder)[1]


def load_pretrained(
    model_class: type[GPT], name_or_folder: str | Path, dtype, revision: str | None
) -> GPT:
    """Make a model with the config and weights of a folder; see `GPT.from_pretrained`."""
    folder = hub.fetch(name_or_folder, revision)
    rounded = isinstance(dtype, str) and dtype in KINDS
    architecture, config = _read_config(folder)
    files = hub.TensorFiles(folder)
    weights = hub.match_weights(architecture, config.to_dict(), files.shapes, str(folder))
    with uninitialized():
        model = model_class(config, dtype=np.float32 if rounded else dtype)
    for name, parameter in model.named_parameters():
        weights[name].read(files, parameter.value)
    model.eval()
    return model.quantize(dtype) if rounded else model


def save_pretrained(
    model: GPT, folder: str | Path, tokenizer: Tokenizer | None, shard_size: int, overwrite: bool
) -> None:
    """Write a folder that transformers loads; see `GPT.save_pretrained`."""
    if not isinstance(model.head, OutputHead):
        raise ValueError(
            "save_pretrained: the model is for inference only, its weights were rounded to fewer "
            "bits; save the one in float32."
        )
    fields = model.config.to_dict()
    architecture = _architecture_for(model.config)
    folder = hub.new_folder(folder, overwrite)
    arrays = hub.export_arrays(architecture.weights(fields), model.state_dict())
    hub.save_tensors(folder, arrays, shard_size)
    if tokenizer is not None:
        tokenizer.save(folder / "tokenizer.json")
    end = tokenizer.end_of_text_id if tokenizer else None
    ends = {"bos_token_id": end, "eos_token_id": end}
    hub.write_json(folder / GENERATION_CONFIG, ends)
    content = {**architecture.content(fields), **ends, "dtype": model.dtype.name}
    hub.write_json(folder / CONFIG, content)


def _read_config(folder: Path) -> tuple[hub.Architecture, GPTConfig]:
    architecture, fields, where = hub.read_config(folder)
    try:
        return architecture, CONFIGS[architecture.kind](**fields)
    except TypeError as error:
        raise ValueError(f"{where}: {error}.") from None


def _architecture_for(config: GPTConfig) -> hub.Architecture:
    """Find an architecture that can say all that a config chooses."""
    fields, refusals = config.to_dict(), []
    for architecture in hub.ARCHITECTURES:
        if CONFIGS[architecture.kind] is type(config):
            said = type(config)(**architecture.fields(architecture.content(fields), "")).to_dict()
            said["bias"] &= fields["bias"]  # biases that the model lacks are written as zeros
            others = [f"{name}={value!r}" for name, value in fields.items() if said[name] != value]
            if not others:
                return architecture
            refusals.append(f"Hugging Face's {architecture.name} has no {', '.join(others)}")
    raise ValueError(
        f"save_pretrained: {'; '.join(refusals)}; such a model is kept in a run folder."
    )

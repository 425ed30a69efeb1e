"""A model from a folder in another's format, and back; see `npgpt.GPT.from_pretrained`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from npgpt import hub
from npgpt.hub.folder import CONFIG, GENERATION_CONFIG
from npgpt.layers.core.init import Init
from npgpt.layers.quantized import KINDS, QuantizedHead
from npgpt.models.model import MODELS, Model
from npgpt.tokenizers import Tokenizer

M = TypeVar("M", bound=Model)


def read_config(folder: Path) -> Any:
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
    model_class: type[M], name_or_folder: str | Path, dtype: Any, revision: str | None = None
) -> M:
    """Make a model with the config and weights of a folder, ready to be used.

    Parameters
    ----------
    model_class : type
        `Model`, for whatever it is, or what it must be.
    name_or_folder, dtype, revision
        As for `GPT.from_pretrained`.

    Raises
    ------
    FileNotFoundError, ValueError, RuntimeError
        As there; ValueError too if it is another kind of model.
    """
    folder = hub.fetch(name_or_folder, revision)
    architecture, config = _read_config(folder)
    family = MODELS[architecture.kind]
    if not issubclass(family, model_class) and not issubclass(model_class, family):
        raise ValueError(f"{folder} holds a {architecture.name}, not a {model_class.__name__}.")
    files = hub.TensorFiles(folder)
    weights = hub.match_weights(architecture, config.to_dict(), files.shapes, str(folder))
    rounded = isinstance(dtype, str) and dtype in KINDS
    init = Init(dtype=np.float32 if rounded else dtype, fill=False)
    made: Any = model_class if issubclass(model_class, family) else family
    model = made(config, init=init)
    for name, parameter in model.named_parameters():
        weights[name].read(files, parameter.value)
    model.eval()
    return model.quantize(dtype) if rounded else model


def save_pretrained(
    model: Model, folder: str | Path, tokenizer: Tokenizer | None, shard_size: int, overwrite: bool
) -> None:
    """Write a folder that transformers loads; see `GPT.save_pretrained`."""
    if any(isinstance(layer, QuantizedHead) for layer in model.layers()):
        raise ValueError(
            "save_pretrained: the model is for inference only, its weights were rounded to fewer "
            "bits; save the one in float32."
        )
    architecture, fields = _architecture_for(model), model.config.to_dict()
    folder, arrays = hub.new_folder(folder, overwrite), model.state_dict()
    theirs = hub.export_arrays(architecture.weights(fields), arrays)
    hub.save_tensors(folder, theirs, shard_size)
    if tokenizer is not None:
        tokenizer.save(folder / "tokenizer.json")
    end = tokenizer.end_of_text_id if tokenizer else None
    ends = {"bos_token_id": end, "eos_token_id": end}
    hub.write_json(folder / GENERATION_CONFIG, ends)
    dtype = next(iter(arrays.values())).dtype.name
    hub.write_json(folder / CONFIG, {**architecture.content(fields), **ends, "dtype": dtype})


def _read_config(folder: Path) -> tuple[hub.Architecture, Any]:
    architecture, fields, where = hub.read_config(folder)
    try:
        return architecture, MODELS[architecture.kind].Config(**fields)
    except TypeError as error:
        raise ValueError(f"{where}: {error}.") from None


def _architecture_for(model: Model) -> hub.Architecture:
    """Find an architecture that can say all that a model's config chooses."""
    fields, refusals = model.config.to_dict(), []
    for architecture in hub.ARCHITECTURES:
        if architecture.kind == model.kind:
            content = architecture.content(fields)
            said = model.Config(**architecture.fields(content, CONFIG)).to_dict()
            said["bias"] &= fields["bias"]  # biases that the model lacks are written as zeros
            others = [f"{name}={value!r}" for name, value in fields.items() if said[name] != value]
            if not others:
                return architecture
            refusals.append(f"Hugging Face's {architecture.name} has no {', '.join(others)}")
    raise ValueError(
        f"save_pretrained: {'; '.join(refusals)}; such a model is kept in a run folder."
    )

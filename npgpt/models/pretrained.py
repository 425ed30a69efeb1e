"""A model from a folder in another's format, and back; see `npgpt.GPT.from_pretrained`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from npgpt import hub
from npgpt.files import CONFIG, TOKENIZER
from npgpt.hub.folder import GENERATION_CONFIG
from npgpt.layers.core.init import Init
from npgpt.layers.quantized import KINDS, QuantizedHead
from npgpt.models.model import MODELS, Model
from npgpt.models.quantize import quantize
from npgpt.models.summary import Summary
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
        tokenizer.save(folder / TOKENIZER)
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


class Pretrained(Model):
    """The doors of a family of models to files in other formats, and to fewer bits."""

    @classmethod
    def from_pretrained(
        cls: type[M],
        name_or_folder: str | Path,
        dtype: Any = np.float32,
        revision: str | None = None,
    ) -> M:
        """Load a model in Hugging Face's format, such as GPT-2, ready to be used.

        Parameters
        ----------
        name_or_folder : str or path
            A folder with ``config.json`` and safetensors files, as transformers or
            `save_pretrained` write it, or a name on the hub, such as ``"gpt2"``.
        dtype : dtype
            Of the parameters, whatever the file's is: float16 and bfloat16 files are read too.
            ``"bfloat16"`` or ``"int8"`` is for inference only, see `quantize`.
        revision : str, optional
            A branch, tag or commit of the hub's repository.

        Raises
        ------
        FileNotFoundError
            If there is no such folder or model, or a file of it is missing.
        ValueError
            If a file is damaged, or its arrays do not fit its config.
        RuntimeError
            If it must be downloaded and huggingface_hub is not installed.
        """
        return load_pretrained(cls, name_or_folder, dtype, revision)

    def save_pretrained(
        self,
        folder: str | Path,
        tokenizer: Tokenizer | None = None,
        shard_size: int = hub.SHARD,
        overwrite: bool = False,
    ) -> None:
        """Write the model as transformers' ``AutoModelForCausalLM.from_pretrained`` loads it.

        Parameters
        ----------
        folder : path
            Made if need be.
        tokenizer : Tokenizer, optional
            Written beside the weights.
        shard_size : int
            Largest size of a file's arrays in bytes, unless one array is larger.
        overwrite : bool
            Whether the folder may hold something.

        Raises
        ------
        FileExistsError
            If the folder holds something.
        ValueError
            If no architecture of Hugging Face's has such a model.
        """
        save_pretrained(self, folder, tokenizer, shard_size, overwrite)

    def quantize(self: M, kind: str) -> M:
        """Round every matrix but the positions' to fewer bits, for inference only.

        A token takes as long as reading all weights once, so half or a quarter of the bytes take
        about half or a quarter of the time. What is computed with stays float32.

        Parameters
        ----------
        kind : {"bfloat16", "int8"}
            bfloat16 keeps 8 bits of precision; int8 has a scale for each output.

        Returns
        -------
        Model
            This model, which cannot be trained or saved any more.
        """
        quantize(self, kind)
        return self

    def summary(self) -> Summary:
        """Return a printable table: layer, shape, parameters."""
        return Summary.of(self)

"""A model from a folder in another's format, and back; see `npgpt.GPT.from_pretrained`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from npgpt import hub
from npgpt.files import CONFIG, write_atomically
from npgpt.generation import Sampling, Translating
from npgpt.generation.translates import Translates
from npgpt.hub.folder import GENERATION_CONFIG
from npgpt.layers import CrossEntropy, LoRALinear
from npgpt.layers.core.init import Init
from npgpt.layers.core.taps import Listeners
from npgpt.layers.quantized import KINDS, QuantizedHead, QuantizedLinear
from npgpt.models.model import MODELS, LanguageModel, Model
from npgpt.models.objectives.objective import body_of
from npgpt.models.quantize import quantize
from npgpt.models.summary import Summary
from npgpt.tokenizers import Tokenizer
from npgpt.tokenizers.for_transformers import files_for_transformers

M = TypeVar("M", bound=Model)

# fields of configs that may be None, and the property that says what stands for it
RESOLVED = {
    "d_ff": "feed_forward_size",
    "n_kv_heads": "num_kv_heads",
    "n_encoder_layers": "num_encoder_layers",
    "source_vocab_size": "num_source_tokens",
    "ends_with_norm": "final_norm",
}


def read_config(folder: Path, files: hub.TensorFiles | None = None) -> Any:
    """Read the config of a model folder in another's format.

    Parameters
    ----------
    folder : path
    files : TensorFiles, optional
        Its arrays, which may hold a head of their own though the config does not say so.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, or not that of a model as npgpt has it.
    """
    return read_architecture(folder, files, np.float32)[1]


def load_pretrained(
    model_class: type[M],
    name_or_folder: str | Path,
    dtype: Any,
    revision: str | None = None,
    activation: str | None = None,
) -> M:
    """Make a model with the config and weights of a folder, ready to be used.

    Parameters
    ----------
    model_class : type
        `Model`, for whatever it is, or what it must be.
    name_or_folder, dtype, revision, activation
        As for `GPT.from_pretrained`.

    Raises
    ------
    FileNotFoundError, ValueError, RuntimeError
        As there; ValueError too if it is another kind of model.
    """
    folder = hub.fetch(name_or_folder, revision)
    files = hub.TensorFiles(folder)
    rounded = isinstance(dtype, str) and dtype in KINDS
    dtype_here = np.dtype(np.float32 if rounded else dtype)
    architecture, config = read_architecture(folder, files, dtype_here)
    if activation is not None:
        config = dataclasses.replace(config, activation=activation)
    family = MODELS[architecture.kind]
    if not issubclass(family, model_class) and not issubclass(model_class, family):
        raise ValueError(f"{folder} holds a {architecture.name}, not a {model_class.__name__}.")
    weights = hub.match_weights(architecture, config.to_dict(), files.shapes, str(folder))
    init = Init(dtype=dtype_here, fill=False)
    made: Any = model_class if issubclass(model_class, family) else family
    model = fill(made(config, init=init), weights, files)
    if isinstance(model, LanguageModel):
        ids = hub.read_generation_ids(folder)
        model.sampling = Sampling(
            stop_id=ids.eos_token_ids or None,
            suppressed=ids.suppressed_ids,
            begin_suppressed=ids.begin_suppressed_ids,
        )
    if isinstance(model, Translates):
        model.translating = Translating(**hub.read_translating(folder))
    return model.quantize(dtype) if rounded else model


def fill(model: M, weights: Mapping[str, hub.Weight], files: hub.TensorFiles) -> M:
    """Read arrays of files into a model's parameters; returns the model, ready to be used.

    Parameters
    ----------
    model : Model
    weights : mapping of str to Weight
        As `npgpt.hub.match_weights` finds them.
    files : TensorFiles
    """
    for name, parameter in model.named_parameters():
        weights[name].read(files, parameter.value)
    return model.eval()


def save_pretrained(
    model: Model,
    folder: str | Path,
    tokenizer: Tokenizer | None,
    shard_size: int,
    overwrite: bool,
    **more: Any,
) -> None:
    """Write a folder that transformers loads; see `GPT.save_pretrained`.

    Parameters
    ----------
    model, folder, tokenizer, shard_size, overwrite
        As there; the model may be an `Objective`, which the architecture knows by ``more``.
    **more
        Fields of the architecture beside those of the config.
    """
    body = body_of(model)
    architecture, fields = _architecture_for(body), {**body.config.to_dict(), **more}
    weights = list(architecture.weights(fields))
    arrays = _plain_arrays(model, weights)
    files = {} if tokenizer is None else files_for_transformers(tokenizer)
    if isinstance(model, Translates):
        generation, ends = hub.translating_content(dataclasses.asdict(model.translating))
    elif isinstance(model, LanguageModel):
        generation, ends = _generation_content(model, tokenizer)
    else:
        generation, ends = {}, {}
    folder = hub.new_folder(folder, overwrite)
    hub.save_tensors(folder, hub.export_arrays(weights, arrays), shard_size)
    for name, content in files.items():
        write_atomically(folder / name, content)
    if generation:
        hub.write_json(folder / GENERATION_CONFIG, generation)
    dtype = next(iter(arrays.values())).dtype.name
    hub.write_json(folder / CONFIG, {**architecture.content(fields), **ends, "dtype": dtype})


def _generation_content(
    model: LanguageModel, tokenizer: Tokenizer | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what ``generation_config.json`` says, and what ``config.json`` says of it too."""
    end = tokenizer.end_of_text_id if tokenizer else None
    sampling = model.sampling  # of the folder that it came from
    own = sampling.stop_ids
    ends = {
        "bos_token_id": end,
        "eos_token_id": (own[0] if len(own) == 1 else list(own)) if own else end,
    }
    never = {
        "suppress_tokens": sorted(sampling.suppressed),
        "begin_suppress_tokens": sorted(sampling.begin_suppressed),
    }
    never = {name: ids for name, ids in never.items() if ids}
    return {**ends, **never}, ends


def _plain_arrays(model: Model, weights: Iterable[hub.Weight]) -> dict[str, np.ndarray]:
    """Return the arrays of a model as they are written, low-rank additions merged in copies.

    Raises
    ------
    ValueError
        If the model computes something that the arrays of its config do not say.
    """
    if any(isinstance(layer, QuantizedHead | QuantizedLinear) for layer in model.layers()):
        raise ValueError(
            "save_pretrained: the model is for inference only, its weights were rounded to fewer "
            "bits; save the one in float32."
        )
    if isinstance(model.listener, Listeners) and model.listener.edits:
        raise ValueError(
            "save_pretrained: the model's activations are edited, which no file says; leave the "
            "`with model.edit(...)` block first."
        )
    _check_layers(body_of(model))
    arrays, merged = model.state_dict(), set()
    for name, layer in model.named_layers():
        if isinstance(layer, LoRALinear):
            arrays[f"{name}.weight"] = layer.merged_weight()
            merged |= {f"{name}.lora_A", f"{name}.lora_B"}
    shapes = {weight.ours: weight.shape for weight in weights}
    for name in sorted(arrays.keys() - merged):
        if arrays[name].shape != shapes.get(name):
            raise ValueError(
                f"save_pretrained: the model's {name}, {arrays[name].shape}, has no place beside "
                "the config that it has, so a part of it was replaced; keep its state_dict instead."
            )
    return {name: array for name, array in arrays.items() if name not in merged}


def _check_layers(model: Model) -> None:
    """Refuse a model that holds a layer which its config does not choose."""
    made: Any = type(model)
    chosen = dict(made(model.config, init=Init(fill=False)).named_layers())
    for name, layer in model.named_layers():
        kind = type(chosen[name]) if name in chosen else None
        if kind is None or isinstance(layer, CrossEntropy):
            continue  # a part of one that was refused; what a file does not say of any model
        same = issubclass(type(layer), kind) and type(layer).forward is kind.forward
        if same or not layer.is_foreign:  # ours: LoRA's maps, blocks that recompute
            continue
        raise ValueError(
            f"save_pretrained: {name} is a {type(layer).__name__}, which no file in another's "
            "format can say; keep the weights with state_dict, and load them with load_state_dict."
        )


def read_architecture(
    folder: Path, files: hub.TensorFiles | None, dtype: Any
) -> tuple[hub.Architecture, Any]:
    """Read what `read_config` does; return the architecture too.

    Parameters
    ----------
    folder, files
        As for `read_config`.
    dtype : dtype
        That arrays are compared in.
    """
    architecture, fields, where = hub.read_config(folder)
    Config = MODELS[architecture.kind].Config
    try:
        config = Config(**fields)
        if files is not None:
            fields = config.to_dict()
            found = architecture.with_arrays(fields, files, str(folder), dtype)
            config = config if found is fields else Config(**found)
    except TypeError as error:
        raise ValueError(f"{where}: {error}.") from None
    return architecture, config


def _architecture_for(model: Model) -> hub.Architecture:
    """Find an architecture that can say all that a model's config chooses."""
    fields, refusals = model.config.to_dict(), []
    for architecture in hub.ARCHITECTURES:
        if architecture.kind == model.kind:
            content = architecture.content(fields)
            said = model.Config(**architecture.fields(content, CONFIG))
            others = [
                f"{name}={value!r}"
                for name, value in fields.items()
                if name not in architecture.of_arrays and not _says(said, model.config, name)
            ]
            if not others:
                return architecture
            refusals.append(f"Hugging Face's {architecture.name} has no {', '.join(others)}")
    raise ValueError(
        f"save_pretrained: {'; '.join(refusals)}; such a model is kept in a run folder."
    )


def _says(said: Any, config: Any, name: str) -> bool:
    """Tell whether a config that was read again has what another one chose."""
    value = getattr(config, name)
    if getattr(said, name) == value:
        return True
    if name in RESOLVED:  # a default may be written out
        return getattr(said, RESOLVED[name]) == getattr(config, RESOLVED[name])
    return name == "bias" and not value  # biases that the model lacks are written as zeros


class Pretrained(Model):
    """The doors of a family of models to files in other formats, and to fewer bits."""

    @classmethod
    def from_pretrained(
        cls: type[M],
        name_or_folder: str | Path,
        dtype: Any = np.float32,
        revision: str | None = None,
        activation: str | None = None,
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
        activation : {"gelu", "gelu_exact", "relu", "silu"}, optional
            In the place of what the config says, or of what it is taken to mean: nanoGPT's names
            none, and was trained with ``"gelu"`` before June 2023, with ``"gelu_exact"`` since.

        Warns
        -----
        UserWarning
            If the file holds a head that differs from the token embedding, though the config does
            not say so: it is used, and the model's embeddings are not tied.

        Raises
        ------
        FileNotFoundError
            If there is no such folder or model, or a file of it is missing.
        ValueError
            If a file is damaged, or its arrays do not fit its config.
        RuntimeError
            If it must be downloaded and huggingface_hub is not installed.
        """
        return load_pretrained(cls, name_or_folder, dtype, revision, activation)

    def save_pretrained(
        self,
        folder: str | Path,
        tokenizer: Tokenizer | None = None,
        shard_size: int = hub.SHARD,
        overwrite: bool = False,
    ) -> None:
        """Write the model as transformers' ``from_pretrained`` loads it, such as ``AutoModel``'s.

        Low-rank additions are merged in what is written; the model stays as it is.

        Parameters
        ----------
        folder : path
            Made if need be.
        tokenizer : Tokenizer, optional
            Written beside the weights, as ``AutoTokenizer`` reads it.
        shard_size : int
            Largest size of a file's arrays in bytes, unless one array is larger.
        overwrite : bool
            Whether the folder may hold something.

        Raises
        ------
        FileExistsError
            If the folder holds something.
        ValueError
            If no architecture of Hugging Face's has such a model; if its weights were rounded to
            fewer bits, its activations are edited, or its parts were replaced.
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

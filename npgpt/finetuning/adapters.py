"""Low-rank additions alone, in PEFT's file format."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from npgpt import hub
from npgpt.finetuning.lora import LoRAConfig, add_low_rank, lora_layers
from npgpt.finetuning.peft_config import PEFTConfig, patterns
from npgpt.hub.architectures.architecture import HEAD, TABLE
from npgpt.hub.architectures.gpt2 import GPT2
from npgpt.hub.containers.safetensors import SafetensorsFile, write_safetensors
from npgpt.layers import LoRALinear, OutputHead, Parameter, flatten_trained
from npgpt.models import GPT, GPTForClassification, Model
from npgpt.models.objectives.objective import body_of

ADAPTER_CONFIG, ADAPTER_MODEL = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # how PEFT wraps a model
WRAPPERS = re.compile(r"\.(base_layer|modules_to_save)\.")  # how it wraps a layer
SUFFIX = ".weight"
# what npgpt writes of the fields of PEFT's LoraConfig that change what is computed
PLAIN = {
    "bias": "none",
    "use_dora": False,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "fan_in_fan_out": True,
}


def save_adapter(model: Model, folder: str | Path, base: str = "", dropout: float = 0.0) -> None:
    """Write the low-rank additions of a model (and a classifier's head) as PEFT loads them.

    Parameters
    ----------
    model : GPT or GPTForClassification
        With additions that are not merged.
    folder : path
        Made if need be: ``adapter_config.json`` and ``adapter_model.safetensors``.
    base : str
        Name or folder of the base model, which PEFT notes.
    dropout : float
        Which the additions were trained with.

    Raises
    ------
    ValueError
        If the model has no additions, or trains something else that an adapter does not hold.
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise ValueError("save_adapter: the model has no LoRA layers; apply_lora adds them.")
    arrays, modules = {}, _module_names(model, layers)
    configs = {}
    for name, layer in layers.items():
        configs[modules[name]] = LoRAConfig(layer.rank, layer.alpha)
        for which in ("A", "B"):
            array = getattr(layer, f"lora_{which}").value
            arrays[f"{PREFIX}{modules[name]}.lora_{which}.weight"] = np.ascontiguousarray(array)
    whole = _trained_whole(model)
    for module, parameter in whole.items():
        arrays[f"{PREFIX}{module}.weight"] = np.ascontiguousarray(parameter.value)
    first = next(iter(layers.values()))
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if isinstance(model, GPTForClassification) else "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": first.rank,
        "lora_alpha": first.alpha,
        "lora_dropout": dropout,
        "target_modules": sorted({_ending(module) for module in modules.values()}),
        "modules_to_save": list(whole) or None,
        **PLAIN,
        **patterns(configs),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / ADAPTER_MODEL, arrays)
    hub.write_json(folder / ADAPTER_CONFIG, config)


def load_adapter(model: Model, folder: str | Path) -> list[str]:
    """Put the additions of a file in PEFT's format beside a model's linear maps.

    What else the file holds, modules and biases that were trained whole, takes the place of the
    model's own; where it is the output head or the token embedding, they are not tied any more.

    Parameters
    ----------
    model : GPT or GPTForClassification
        Without additions; changed in place.
    folder : path

    Returns
    -------
    list of str
        The names of the maps that have an addition now.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, an array does not fit the model, or the adapter is of another kind
        than LoRA as npgpt has it, or was trained beside a base that its initialisation changed.
    """
    folder = Path(folder)
    for name in (ADAPTER_CONFIG, ADAPTER_MODEL):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is not an adapter: there is no {name} in it.")
    path = folder / ADAPTER_MODEL
    config = PEFTConfig(hub.read_json(folder / ADAPTER_CONFIG), str(folder / ADAPTER_CONFIG))
    try:
        file = SafetensorsFile(path)
    except ValueError:
        raise ValueError(
            f"{path} is not a whole file; it may have been cut short or changed."
        ) from None
    linears = dict(_linear_names(model))
    modules = _module_names(model, linears)
    keys = {n: [f"{PREFIX}{m}.lora_{which}.weight" for which in "AB"] for n, m in modules.items()}
    chosen = {n: config.for_module(modules[n]) for n in linears if keys[n][0] in file.shapes}
    if not chosen:
        raise ValueError(f"{folder}: the adapter is for no linear map of this model.")
    for name, lora in chosen.items():
        expected = (lora.rank, linears[name].d_in), (linears[name].d_out, lora.rank)
        for key, shape in zip(keys[name], expected, strict=True):
            if file.shapes.get(key) != shape:
                found = file.shapes.get(key, "nothing")
                raise ValueError(f"{folder}: {key} must have shape {shape}, got {found}.")
    others = file.shapes.keys() - {key for name in chosen for key in keys[name]}
    trained = _put_whole(model, file, sorted(others), config, folder)
    add_low_rank(model, chosen)
    for name, layer in lora_layers(model):
        for key, parameter in zip(keys[name], (layer.lora_A, layer.lora_B), strict=True):
            file.read_into(key, parameter.value)
    for parameter in trained:
        parameter.freeze(False)
    flatten_trained(model)
    return list(chosen)


def _put_whole(
    model: Model, file: SafetensorsFile, names: list[str], config: PEFTConfig, folder: Path
) -> list[Parameter]:
    """Copy arrays of the base that the adapter brings its own of; return their parameters."""
    classifies = isinstance(model, GPTForClassification)
    gpt = cast(GPT, body_of(model))
    parts = []
    theirs = _weights_of(model)
    for name in names:
        if ".original_module." in name:
            continue  # which PEFT keeps beside what takes its place
        plain = WRAPPERS.sub(".", name.removeprefix(PREFIX))
        weight = theirs.get(plain)
        if weight is None or not name.startswith(PREFIX):
            raise ValueError(f"{folder}: {name} belongs to nothing in this model.")
        expected = weight.layout.shape(weight.shape)
        if file.shapes[name] != expected:
            raise ValueError(
                f"{folder}: {name} must have shape {expected}, got {file.shapes[name]}."
            )
        parts.append((name, weight, config.saves(plain.rpartition(".")[0])))
    if not classifies and gpt.config.tie_embeddings:
        tied = [saved for _, weight, saved in parts if weight.ours in (TABLE, HEAD)]
        if any(tied):
            untie(gpt)
    parameters = dict(gpt.named_parameters())
    if not classifies and gpt.config.tie_embeddings:
        parameters[HEAD] = parameters[TABLE]
    for name, weight, _ in parts:
        file.read_into(name, weight.layout.view(parameters[weight.ours].value))
    return [parameters[weight.ours] for _, weight, _ in parts]


def untie(model: GPT) -> None:
    """Give the output head of a model a weight of its own, a copy of the token embedding."""
    table = model.token_embedding.weight
    head = OutputHead(model.config.d_model, model.config.vocab_size, Parameter(table.value.copy()))
    model.replace(model.head, head)
    model.config = dataclasses.replace(model.config, tie_embeddings=False)
    model.assign_names()
    flatten_trained(model)


def _trained_whole(model: Model) -> dict[str, Parameter]:
    """Return the parameters that are trained beside the additions, by PEFT's names of modules."""
    head = "score" if isinstance(model, GPTForClassification) else "lm_head"
    gpt = cast(GPT, body_of(model))
    found = {}
    for name, parameter in model.named_parameters():
        if parameter is gpt.head.weight and parameter is not gpt.token_embedding.weight:
            if parameter.requires_grad or head == "score":
                found[head] = parameter
        elif parameter.requires_grad and not name.endswith((".lora_A", ".lora_B")):
            raise ValueError(
                f"save_adapter: {name} is trained too, which the file would leave out; freeze it, "
                "or merge the additions and save the whole model."
            )
    return found


def _weights_of(model: Model) -> dict[str, hub.Weight]:
    """Return the arrays of a model, the head for itself, by their names in PEFT's files."""
    body = cast(GPT, body_of(model))
    fields = {**body.config.to_dict(), "tie_embeddings": False}
    weights = {weight.theirs[0]: weight for weight in GPT2().weights(fields)}
    if isinstance(model, GPTForClassification):
        head = weights.popitem()[1]  # of the language; the last
        weights["score.weight"] = head._replace(shapes=(model.body.head.weight.shape,))
    return weights


def _linear_names(model: Model) -> Iterator[tuple[str, Any]]:
    for name, layer in model.named_layers():
        if hasattr(layer, "d_in") and not isinstance(layer, LoRALinear):
            yield name, layer


def _module_names(model: Model, names: Iterable[str]) -> dict[str, str]:
    """Translate ``blocks.0.attention.qkv`` to ``transformer.h.0.attn.c_attn``, if it has one."""
    body = body_of(model)
    theirs = {w.ours.removesuffix(SUFFIX): module for module, w in _weights_of(model).items()}
    own = {name: name.removeprefix(f"{body.name}.") for name in names}
    return {name: theirs.get(plain, plain).removesuffix(SUFFIX) for name, plain in own.items()}


def _ending(module: str) -> str:
    """Shorten ``transformer.h.0.attn.c_attn`` to ``attn.c_attn``, which is so in every block."""
    return ".".join(module.split(".")[-2:])

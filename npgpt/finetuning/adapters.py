"""Low-rank additions alone, in PEFT's file format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npgpt import hub
from npgpt.finetuning.lora import LoRAConfig, apply_lora, lora_layers
from npgpt.hub.architectures.gpt2 import GPT2
from npgpt.hub.containers.safetensors import read_safetensors, write_safetensors
from npgpt.layers import Layer, LoRALinear
from npgpt.models import GPTForClassification
from npgpt.models.objectives.objective import body_of

ADAPTER_CONFIG, ADAPTER_MODEL = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # how PEFT wraps a model
SUFFIX = ".weight"
# fields of PEFT's LoraConfig that change what is computed, and the values that npgpt knows
PLAIN = {
    "bias": "none",
    "use_dora": False,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "fan_in_fan_out": True,
}


def save_adapter(model: Layer, folder: str | Path, base: str = "", dropout: float = 0.0) -> None:
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
        If the model has no additions.
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise ValueError("save_adapter: the model has no LoRA layers; apply_lora adds them.")
    classifies = isinstance(model, GPTForClassification)
    arrays, modules = {}, _module_names(model, layers)
    for name, layer in layers.items():
        for which in ("A", "B"):
            array = getattr(layer, f"lora_{which}").value
            arrays[f"{PREFIX}{modules[name]}.lora_{which}.weight"] = np.ascontiguousarray(array)
    if isinstance(model, GPTForClassification):
        arrays[f"{PREFIX}score.weight"] = np.ascontiguousarray(model.body.head.weight.value)
    first = next(iter(layers.values()))
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if classifies else "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": first.rank,
        "lora_alpha": first.alpha,
        "lora_dropout": dropout,
        "target_modules": sorted({_ending(module) for module in modules.values()}),
        "modules_to_save": ["score"] if classifies else None,
        **PLAIN,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / ADAPTER_MODEL, arrays)
    hub.write_json(folder / ADAPTER_CONFIG, config)


def load_adapter(model: Layer, folder: str | Path) -> list[str]:
    """Put the additions of a file in PEFT's format beside a model's linear maps.

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
        than LoRA as npgpt has it.
    """
    folder = Path(folder)
    for file in (ADAPTER_CONFIG, ADAPTER_MODEL):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder} is not an adapter: there is no {file} in it.")
    config = hub.read_json(folder / ADAPTER_CONFIG)
    _check_kind(config, folder)
    try:
        arrays, _ = read_safetensors(folder / ADAPTER_MODEL)
    except ValueError as error:
        raise ValueError(f"{folder / ADAPTER_MODEL} is not a whole file ({error}).") from None
    shapes = {n: (layer.d_in, layer.d_out) for n, layer in _linear_names(model)}
    wanted = {f"{PREFIX}{module}": n for n, module in _module_names(model, shapes).items()}
    chosen = {module: n for module, n in wanted.items() if f"{module}.lora_A.weight" in arrays}
    targets: dict[str, np.ndarray] = {}
    if not chosen:
        raise ValueError(f"{folder}: the adapter is for no linear map of this model.")
    lora = LoRAConfig(config["r"], config["lora_alpha"], target_modules=tuple(chosen.values()))
    for module, name in chosen.items():
        d_in, d_out = shapes[name]
        for which, shape in (("A", (lora.rank, d_in)), ("B", (d_out, lora.rank))):
            key = f"{module}.lora_{which}.weight"
            if key not in arrays or arrays[key].shape != shape:
                found = arrays[key].shape if key in arrays else "nothing"
                raise ValueError(f"{folder}: {key} must have shape {shape}, got {found}.")
            targets[f"{name}.lora_{which}"] = arrays.pop(key)
    score = arrays.pop(f"{PREFIX}score.weight", None)
    if arrays:
        raise ValueError(f"{folder}: {next(iter(arrays))} belongs to nothing in this model.")
    apply_lora(model, lora)
    for name, layer in lora_layers(model):
        layer.lora_A.value[...] = targets[f"{name}.lora_A"]
        layer.lora_B.value[...] = targets[f"{name}.lora_B"]
    if score is not None and isinstance(model, GPTForClassification):
        model.body.head.weight.value[...] = score
    return list(chosen.values())


def _check_kind(config: dict[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA" or not {"r", "lora_alpha"} <= set(config):
        raise ValueError(f"{folder / ADAPTER_CONFIG} is not that of a LoRA adapter.")
    for field, plain in PLAIN.items():
        if field != "fan_in_fan_out" and (config.get(field) or plain) != plain:
            raise ValueError(
                f"{folder / ADAPTER_CONFIG}: npgpt's LoRA has no {field}={config[field]!r}."
            )


def _linear_names(model: Layer) -> Iterator[tuple[str, Any]]:
    for name, layer in model.named_layers():
        if hasattr(layer, "d_in") and not isinstance(layer, LoRALinear):
            yield name, layer


def _module_names(model: Any, names: Iterable[str]) -> dict[str, str]:
    """Translate ``blocks.0.attention.qkv`` to ``transformer.h.0.attn.c_attn``, if it has one."""
    body = body_of(model)
    fields = body.config.to_dict()
    theirs = {w.ours.removesuffix(SUFFIX): w.theirs[0] for w in GPT2().weights(fields)}
    own = {name: name.removeprefix(f"{body.name}.") for name in names}
    return {name: theirs.get(plain, plain).removesuffix(SUFFIX) for name, plain in own.items()}


def _ending(module: str) -> str:
    """Shorten ``transformer.h.0.attn.c_attn`` to ``attn.c_attn``, which is so in every block."""
    return ".".join(module.split(".")[-2:])

"""PEFT's ``LoraConfig``: what npgpt computes of it, and what it refuses by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from npgpt.finetuning.lora import LoRAConfig

# Fields that change nothing that is computed from the arrays of a file: what they say is in the
# arrays (which maps have an addition, of what rank), or was for training only.
NO_MATTER = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout",
    "lora_ga_config", "megatron_core", "modules_to_save", "peft_type", "peft_version",
    "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules",
    "task_type", "use_rslora",
}  # fmt: skip
# initialisations that leave the base as it was: a file with another was trained beside a base of
# which the principal, or another, part had been taken out
BASE_KEPT = (True, False, None, "gaussian", "eva", "orthogonal", "mica")


class PEFTConfig:
    """The content of ``adapter_config.json``.

    Parameters
    ----------
    content : mapping
    where : str
        The file, for errors.

    Raises
    ------
    ValueError
        If it is not that of a LoRA as npgpt has it.
    """

    def __init__(self, content: Mapping[str, Any], where: str):
        self._content, self._where = content, where
        kind = content.get("peft_type")
        if kind != "LORA":
            raise ValueError(
                f"{where} is not that of a LoRA adapter: its peft_type is {kind!r}, not 'LORA'."
            )
        for name in ("r", "lora_alpha"):
            self._check_number(name, content.get(name))
        for name in ("rank_pattern", "alpha_pattern"):
            pattern = content.get(name) or {}
            if not isinstance(pattern, dict):
                raise ValueError(f"{where}: {name} must be a JSON object, got {pattern!r}.")
            for key, number in pattern.items():
                self._check_number(name.replace("pattern", key), number, name == "rank_pattern")
        initial = content.get("init_lora_weights")
        if not any(initial is known or initial == known for known in BASE_KEPT):
            raise ValueError(
                f"{where}: init_lora_weights={initial!r} has changed the weights of the base that "
                "the adapter belongs to, and npgpt has no such base; save the adapter with PEFT's "
                "save_pretrained(..., path_initial_model_for_weight_conversion=...), or merge it "
                "there."
            )
        for name, value in content.items():
            if name not in NO_MATTER and value not in (None, False, 0, "", [], {}):
                raise ValueError(f"{where}: npgpt's LoRA has no {name}={value!r}.")

    def _check_number(self, name: str, number: Any, whole: bool = False) -> None:
        whole = whole or name == "r"
        kinds = (int,) if whole else (int, float)
        if not isinstance(number, kinds) or isinstance(number, bool) or not number > 0:
            what = "a positive integer" if whole else "a positive number"
            raise ValueError(f"{self._where}: {name} must be {what}, got {number!r}.")

    def for_module(self, module: str) -> LoRAConfig:
        """Return the rank and alpha of a module's addition.

        With ``use_rslora`` it is scaled by ``alpha / sqrt(rank)`` (Kalajdzievski 2023,
        arXiv 2312.03732), which is ``alpha sqrt(rank) / rank``.
        """
        rank = self._value("rank_pattern", module, self._content["r"])
        alpha = self._value("alpha_pattern", module, self._content["lora_alpha"])
        if self._content.get("use_rslora"):
            alpha *= rank**0.5
        return LoRAConfig(rank, alpha, target_modules=(module,))

    def _value(self, field: str, module: str, default: Any) -> Any:
        """Find a module in a pattern, as PEFT does: keys are regular expressions of name ends."""
        for key, value in (self._content.get(field) or {}).items():
            try:
                if re.match(rf"(.*\.)?({key})$", module):
                    return value
            except re.error as error:
                raise ValueError(f"{self._where}: {field} has the key {key!r}: {error}.") from None
        return default

    def saves(self, module: str) -> bool:
        """Tell whether a module of the base was trained whole, beside the additions."""
        names = self._content.get("modules_to_save") or []
        return any(module == name or module.endswith(f".{name}") for name in names)


def patterns(of_modules: Mapping[str, LoRAConfig]) -> dict[str, Any]:
    """Return the fields of PEFT for the ranks and alphas that are not those of the first module."""
    usual = next(iter(of_modules.values()))
    ranks = {re.escape(m): c.rank for m, c in of_modules.items() if c.rank != usual.rank}
    alphas = {re.escape(m): c.alpha for m, c in of_modules.items() if c.alpha != usual.alpha}
    return {"rank_pattern": ranks, "alpha_pattern": alphas}

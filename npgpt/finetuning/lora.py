"""LoRA applied to a whole model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

import numpy as np

from npgpt.layers import Dropout, Layer, Linear, LoRALinear, flatten_trained


@dataclasses.dataclass(frozen=True)
class LoRAConfig:
    """Which linear maps get a low-rank addition, and of what kind.

    Parameters
    ----------
    rank : int
    alpha : float
        The addition is scaled by ``alpha / rank``.
    dropout : float
        Probability, for the addition's input.
    target_modules : tuple of str
        Ends of the names of linear maps, as in PEFT, or patterns with ``*``; by default all linear
        maps of the blocks.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        if self.rank < 1 or not self.alpha > 0.0:
            raise ValueError(
                f"LoRAConfig: rank must be at least 1 and alpha positive, got rank {self.rank} and "
                f"alpha {self.alpha}."
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(
                f"LoRAConfig: dropout must be at least 0 and below 1, got {self.dropout}."
            )
        if not self.target_modules:
            raise ValueError("LoRAConfig: target_modules is empty; '*' takes all linear maps.")

    def targets(self, name: str) -> bool:
        """Tell whether a linear map of this name gets an addition."""
        return any(
            fnmatchcase(name, pattern) or name.endswith(f".{pattern}")
            for pattern in self.target_modules
        )


def apply_lora(model: Layer, config: LoRAConfig | None = None, seed: int = 0) -> list[str]:
    """Freeze a model and put trained low-rank additions beside its linear maps.

    Parameters
    ----------
    model : Layer
        Changed in place; what it computes stays the same at first.
    config : LoRAConfig, optional
    seed : int
        Of the additions' start and of their dropout.

    Returns
    -------
    list of str
        The names of the maps that have an addition now.

    Raises
    ------
    ValueError
        If no linear map matches, or the model has additions already.

    Examples
    --------
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=2, n_heads=1, d_model=4))
    >>> apply_lora(model, LoRAConfig(rank=2, target_modules=("attention.projection",)))
    ['blocks.0.attention.projection', 'blocks.1.attention.projection']
    >>> model.num_parameters(trained_only=True)  # 2 maps, each with 2 x 4 and 4 x 2
    32
    """
    config = config or LoRAConfig()
    _refuse_a_second(model)
    linears = {n: layer for n, layer in model.named_layers() if type(layer) is Linear}
    chosen = {name: linear for name, linear in linears.items() if config.targets(name)}
    if not linears:
        raise ValueError(
            f"apply_lora: a {type(model).__name__} has no linear maps that could have an addition; "
            "LoRA is for models of blocks, such as a GPT."
        )
    if not chosen:
        raise ValueError(
            f"apply_lora: no linear map matches {', '.join(config.target_modules)}; there is "
            f"{', '.join(list(linears)[:4])}."
        )
    return add_low_rank(model, dict.fromkeys(chosen, config), seed)


def add_low_rank(model: Layer, configs: Mapping[str, LoRAConfig], seed: int = 0) -> list[str]:
    """Do what `apply_lora` does, with a rank, alpha and dropout for each linear map by name."""
    _refuse_a_second(model)
    linears = {n: layer for n, layer in model.named_layers() if isinstance(layer, Linear)}
    rng = np.random.default_rng(seed)
    stream = 1 + max([d.stream for d in model.layers() if isinstance(d, Dropout)], default=-1)
    for parameter in model.parameters():
        parameter.freeze()
    for i, (name, config) in enumerate(configs.items()):
        linear = linears[name]
        layer = LoRALinear.of(
            linear, config.rank, config.alpha, config.dropout, seed, stream + i, rng
        )
        model.replace(linear, layer)
        layer.name = name
    model.assign_names()
    flatten_trained(model)
    return list(configs)


def _refuse_a_second(model: Layer) -> None:
    if any(isinstance(layer, LoRALinear) for layer in model.layers()):
        raise ValueError("apply_lora: the model has LoRA layers already; merge them first.")


def lora_layers(model: Layer) -> Iterator[tuple[str, LoRALinear]]:
    """Yield (dotted name, layer) for the maps that have an addition."""
    for name, layer in model.named_layers():
        if isinstance(layer, LoRALinear):
            yield name, layer


def merge_lora(model: Layer) -> Layer:
    """Make every addition part of its map's weight, and all parameters trained again.

    Returns
    -------
    Layer
        The model, changed in place, with plain linear maps: as fast as before `apply_lora`.
    """
    for _, layer in list(lora_layers(model)):
        model.replace(layer, layer.to_linear())
    for parameter in model.parameters():
        parameter.freeze(False)
    model.assign_names()
    flatten_trained(model)
    return model

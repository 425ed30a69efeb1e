"""Which parameters are trained, by patterns of their names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from npgpt.finetuning.lora import LoRAConfig, apply_lora
from npgpt.layers import Layer, flatten_trained
from npgpt.layers.core.names import parent_of, stacks_of


def train_only(model: Layer, patterns: Sequence[str]) -> list[str]:
    """Freeze every parameter but those whose names match.

    Frozen parameters get no gradient, and backward stops below the last trained one.

    Parameters
    ----------
    model : Layer
    patterns : sequence of str
        Names such as ``final_norm.gamma``; ``*`` stands for any characters.

    Returns
    -------
    list of str
        The names of the trained parameters.

    Raises
    ------
    ValueError
        If a pattern matches nothing.

    Examples
    --------
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=2, n_heads=1, d_model=4))
    >>> train_only(model, ["final_norm.*"])
    ['final_norm.gamma', 'final_norm.beta']
    >>> model.num_parameters(trained_only=True)
    8
    """
    named = dict(model.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in named):
            raise ValueError(
                f"train_only: no parameter is named {pattern!r}; there is "
                f"{', '.join(list(named)[:8])}."
            )
    trained = [name for name in named if any(fnmatchcase(name, p) for p in patterns)]
    for name, parameter in named.items():
        parameter.freeze(name not in trained)
    flatten_trained(model)
    return trained


def train_last_block(model: Layer) -> list[str]:
    """Freeze every parameter but those of the last stack's last block and of the norm behind it.

    Raises
    ------
    ValueError
        If the model has no stack, or its last one no norm with parameters behind it.
    """
    stacks = stacks_of(model.state_dict())
    if not stacks:
        raise ValueError(f"train_last_block: {type(model).__name__} has no stack of blocks.")
    stack, depths = list(stacks.items())[-1]
    norm = ".".join(filter(None, (parent_of(stack), "final_norm")))
    return train_only(model, [f"{stack}.{len(depths) - 1}.*", f"{norm}.*"])


def train_by(model: Layer, method: str, lora: LoRAConfig | None = None, seed: int = 0) -> None:
    """Prepare a `GPT` for a method of fine-tuning: full, last-block or lora.

    Parameters
    ----------
    model : GPT
        Changed in place.
    method : {"full", "last-block", "lora"}
        Train everything; the last block and the final norm; or low-rank additions.
    lora : LoRAConfig, optional
    seed : int
        As of `apply_lora`.
    """
    if method == "lora":
        apply_lora(model, lora, seed)
    elif method == "last-block":
        train_last_block(model)

"""Models of several families that have equally many parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npgpt.fields import check_whole, names_of
from npgpt.layers import Init
from npgpt.models import MODELS, ModelConfig
from npgpt.models.model import family_of

FAMILIES = ("rnn", "gru", "lstm", "conv", "gpt")

# layers of each family: a convolutional model sees as far as its layers let it
LAYERS = {"rnn": 2, "gru": 2, "lstm": 2, "conv": 5, "gpt": 4}
HEADS = 4  # of a gpt


def check_families(kinds: Sequence[str], what: str) -> None:
    """Refuse what is no family of `FAMILIES`, and nothing at all, with a ValueError.

    Parameters
    ----------
    kinds : sequence of str
    what : str
        What the message begins with.
    """
    unknown = [kind for kind in kinds if kind not in FAMILIES]
    if unknown or not kinds:
        raise ValueError(
            f"{what}: models must be of {', '.join(FAMILIES)}, got {', '.join(unknown) or 'none'}."
        )


def num_parameters(config: ModelConfig) -> int:
    """Count the parameters of the model that a config describes, without making its numbers."""
    return family_of(type(config))(config, init=Init(fill=False)).num_parameters()


def config_of_size(kind: str, parameters: int, **fields: Any) -> ModelConfig:
    """Return the config whose ``d_model`` brings a family nearest to a number of parameters.

    Parameters
    ----------
    kind : str
        The family.
    parameters : int
    **fields
        The config's other fields; those that the family has not are left out.

    Examples
    --------
    >>> config = config_of_size("gru", 10_000, vocab_size=10, context_length=8, n_layers=1)
    >>> config.d_model, num_parameters(config)
    (40, 10240)
    """
    check_whole("config_of_size", 1, parameters=parameters)
    config_class: Any = MODELS[kind].Config
    known = {name: value for name, value in fields.items() if name in names_of(config_class)}
    unit = known.get("n_heads", 1)  # heads divide the width

    def of_width(units: int) -> ModelConfig:
        return config_class(**known, d_model=units * unit)

    wide = 1
    while num_parameters(of_width(wide)) < parameters:
        wide *= 2
    narrow = wide // 2 or 1
    while wide - narrow > 1:  # the count grows with the width
        middle = (narrow + wide) // 2
        if num_parameters(of_width(middle)) < parameters:
            narrow = middle
        else:
            wide = middle
    nearest = (of_width(narrow), of_width(wide))
    return min(nearest, key=lambda config: abs(num_parameters(config) - parameters))


def configs_of_equal_size(
    kinds: Sequence[str],
    parameters: int,
    layers: Mapping[str, int] = LAYERS,
    **fields: Any,
) -> dict[str, ModelConfig]:
    """Return configs of several families whose models have equally many parameters.

    A family's width goes in whole numbers, so that equal means nearest. The one whose width goes in
    the largest steps, the gpt with its heads, comes nearest to ``parameters``; the others come
    nearest to it.

    Parameters
    ----------
    kinds : sequence of str
        Of `FAMILIES`.
    parameters : int
    layers : mapping
        The number of layers of each.
    **fields
        As of `config_of_size`.

    Returns
    -------
    dict of str to ModelConfig
        In the order of ``kinds``.
    """
    fields = {"n_heads": HEADS, **fields}
    configs = {}
    for kind in sorted(kinds, key=lambda kind: kind != "gpt"):
        configs[kind] = config_of_size(kind, parameters, n_layers=layers[kind], **fields)
        if kind == "gpt":
            parameters = num_parameters(configs[kind])
    return {kind: configs[kind] for kind in kinds}

"""Configs of blocks, with what a test does not care about filled in."""

import dataclasses

from npgpt.fields import option_of
from npgpt.gradients.suite import TwoSidedConfig
from npgpt.layers import BlockConfig

# field -> the words that it may be, such as "norm" -> layer, rms, none
CHOICES = {
    field.name: option_of(field).choices
    for field in dataclasses.fields(BlockConfig)
    if option_of(field).choices
}


def block_config(d_model, n_heads=1, causal=True, **choices):
    """Make the config of one block."""
    kind = BlockConfig if causal else TwoSidedConfig
    return kind(**{"n_layers": 1, "n_heads": n_heads, "d_model": d_model, **choices})

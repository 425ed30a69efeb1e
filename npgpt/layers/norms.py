"""The table of the norms that a block may have."""

from collections.abc import Callable
from typing import Any

from npgpt.layers.layer_norm import LayerNorm
from npgpt.layers.no_norm import NoNorm
from npgpt.layers.rms_norm import RMSNorm

# name -> function of (d_model, eps, bias, dtype)
NORMS: dict[str, Callable[..., Any]] = {
    "layer": LayerNorm,
    "rms": lambda d_model, eps, bias, dtype: RMSNorm(d_model, eps, dtype),
    "none": lambda d_model, eps, bias, dtype: NoNorm(),
}

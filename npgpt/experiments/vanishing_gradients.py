"""How gradients of the weights depend on depth, with and without shortcuts and norms."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from npgpt.models import GPT, GPTConfig

DEPTHS = (2, 4, 8, 16, 32, 48)
VARIANTS = {
    "shortcut and norm": {"shortcut": True, "norm": "layer"},
    "shortcut alone": {"shortcut": True, "norm": "none"},
    "norm alone": {"shortcut": False, "norm": "layer"},
    "neither": {"shortcut": False, "norm": "none"},
}
BATCH, TIME, VOCAB_SIZE = 8, 32, 64


@dataclasses.dataclass(frozen=True)
class DepthResult:
    """Gradients of one model.

    Attributes
    ----------
    variant : str
        Key of `VARIANTS`.
    n_layers : int
    grad_norms : list of float
        Norm of the loss's gradient by all parameters of each block, the first block first.
    """

    variant: str
    n_layers: int
    grad_norms: list[float]

    @property
    def ratio(self) -> float:
        """First block's norm over the last's: 1 where all layers learn alike, 0 if it vanishes.

        It is nan where the activations overflowed on their way up.
        """
        first, last = self.grad_norms[0], self.grad_norms[-1]
        return first / last if math.isfinite(first) and last else math.nan


def vanishing_gradients(
    depths: Sequence[int] = DEPTHS,
    gain: float = 1.0,
    d_model: int = 64,
    n_heads: int = 4,
    seed: int = 0,
    on_model: Callable[[int, int], None] = lambda done, total: None,
) -> list[DepthResult]:
    """Measure the gradient norm of every block at the start of training.

    Every matrix of a block starts from a normal distribution with standard deviation
    ``gain / sqrt(columns)``, which keeps the variance of what it maps when the gain is 1 (LeCun et
    al. 1998, "Efficient BackProp", section 4.6), in all variants alike. Tokens and targets are
    random; arithmetic is in float64, whose range is wide enough for what vanishes.

    Parameters
    ----------
    depths : sequence of int
        Numbers of blocks.
    gain : float
    d_model, n_heads : int
    seed : int
        Of weights and tokens.
    on_model : function
        Called with (done, total) after each model.

    Returns
    -------
    list of DepthResult
        All depths of the first variant, then of the next.

    Raises
    ------
    ValueError
        If there is no depth, one is below 1, or the gain is not positive.
    """
    if not depths or min(depths) < 1:
        raise ValueError(f"vanishing_gradients: depths must be at least 1, got {list(depths)}.")
    if not gain > 0.0:
        raise ValueError(f"vanishing_gradients: gain must be positive, got {gain}.")
    results: list[DepthResult] = []
    for variant, choices in VARIANTS.items():
        for n_layers in depths:
            config = GPTConfig(VOCAB_SIZE, TIME, n_layers, n_heads, d_model, **choices)  # type: ignore[arg-type]
            norms = _grad_norms(config, gain, seed)
            results.append(DepthResult(variant, n_layers, norms))
            on_model(len(results), len(VARIANTS) * len(depths))
    return results


def _grad_norms(config: GPTConfig, gain: float, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    model = GPT(config, seed, np.float64)
    for block in model.blocks:
        for parameter in block.parameters():
            if len(parameter.shape) == 2:
                std = gain / math.sqrt(parameter.shape[1])
                parameter.value[...] = std * rng.standard_normal(parameter.shape)
    ids = rng.integers(0, VOCAB_SIZE, (BATCH, TIME + 1))
    with np.errstate(all="ignore"):  # an overflow is a result here
        model.loss_and_backward(ids[:, :-1], ids[:, 1:])
        return [
            math.sqrt(sum(float(np.sum(p.trained_grad**2)) for p in block.parameters()))
            for block in model.blocks
        ]

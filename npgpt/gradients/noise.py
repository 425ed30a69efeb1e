"""How much the gradients of single examples, or of batches, differ from one another."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from npgpt.fields import ShortRepr
from npgpt.gradients.per_example import batch_of_gradients
from npgpt.gradients.untouched import untouched
from npgpt.html_table import html_table
from npgpt.models import Model
from npgpt.text_table import text_table

NUMBERS = range(1, 4)


@dataclasses.dataclass(frozen=True)
class GradientNoise:
    """How far single examples' gradients scatter round the true gradient.

    Attributes
    ----------
    examples : int
    signal : float
        Estimate of ``|G|^2``, the square of the true gradient's norm. Unbiased, so it may fall
        below 0 when the examples are few or the gradient nearly gone.
    noise : float
        Estimate of ``tr(Sigma)``, the sum of the variances of an example's gradient.
    """

    examples: int
    signal: float
    noise: float

    @property
    def scale(self) -> float:
        """``tr(Sigma) / |G|^2``, in examples; infinite where no signal is seen."""
        return self.noise / self.signal if self.signal > 0.0 else math.inf

    def __str__(self) -> str:
        return (
            f"gradient noise scale {self.scale:,.1f} examples (signal {self.signal:.3e}, noise "
            f"{self.noise:.3e}, from {self.examples} examples)"
        )


def gradient_noise_scale(model: Model, *batch: Any) -> GradientNoise:
    """Estimate the simple noise scale, ``B = tr(Sigma) / |G|^2``, from one batch.

    Averaging over a batch of size b leaves noise ``tr(Sigma) / b`` beside the signal ``|G|^2``:
    far below B, twice the batch is nearly worth twice the steps; far above it, nothing (McCandlish
    et al. 2018, arXiv 1812.06162, eq. 2.9). With ``n`` examples of gradients ``g_i`` and mean ``g``,

    ``tr(Sigma) = n / (n - 1) (mean |g_i|^2 - |g|^2)``, ``|G|^2 = |g|^2 - tr(Sigma) / n``

    are unbiased (appendix A.1, with a small batch of 1).

    Parameters
    ----------
    model : Model
        Run without dropout; it is left as it is.
    *batch : ndarray
        What the model's loss takes, with a row an example: of a language model token ids and
        targets, (batch, time). At least 2 examples; the more, the better the estimate.

    Returns
    -------
    GradientNoise

    Raises
    ------
    ValueError
        If there are fewer than 2 examples.
    """  # noqa: E501
    n = len(batch[0])
    if n < 2:
        raise ValueError(f"gradient_noise_scale: needs at least 2 examples, got {n}.")
    norms, sums = batch_of_gradients(model, *batch)
    of_examples = float(np.mean(norms.total**2))
    of_mean = sum(_sum_of_squares(total) for total in sums.values()) / n**2
    noise = n / (n - 1) * (of_examples - of_mean)
    return GradientNoise(n, of_mean - noise / n, noise)


@dataclasses.dataclass(frozen=True, repr=False)
class GradientMoments(ShortRepr):
    """Mean and variance of each number of each parameter's gradient, over a set of batches.

    Attributes
    ----------
    batches : int
    mean, variance : dict of str to ndarray
        By dotted name, of the parameter's shape. The variance is that of one batch's gradient,
        with ``batches - 1`` below.
    """

    batches: int
    mean: dict[str, np.ndarray]
    variance: dict[str, np.ndarray]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return (head, rows) of text: for each parameter its signal, its noise, and their ratio.

        Signal is the norm of the mean, noise the square root of the summed variances.
        """
        rows = []
        for name, mean in self.mean.items():
            signal = math.sqrt(_sum_of_squares(mean))
            noise = math.sqrt(float(np.sum(self.variance[name], dtype=np.float64)))
            ratio = f"{signal / noise:.3f}" if noise else ""
            rows.append([name, f"{signal:.3e}", f"{noise:.3e}", ratio])
        return ["parameter", "signal", "noise", "signal / noise"], rows

    def __str__(self) -> str:
        return text_table(*self.table(), numbers=NUMBERS)

    def _repr_html_(self) -> str:
        return html_table(f"Gradient over {self.batches} batches", *self.table(), numbers=NUMBERS)


def gradient_moments(model: Model, batches: Iterable[tuple[Any, ...]]) -> GradientMoments:
    """Measure mean and variance of the gradient, number by number, over batches.

    Parameters
    ----------
    model : Model
        Run without dropout; it is left as it is.
    batches : iterable of tuples of ndarray
        Each what the model's loss takes, all of one size; batches of one example give the variance
        of an example's gradient.

    Returns
    -------
    GradientMoments

    Raises
    ------
    ValueError
        If there are fewer than 2 batches.

    Notes
    -----
    Welford's update (1962, Technometrics 4(3)): nothing is kept but a mean and a sum of squared
    differences, two arrays of the parameters' size.
    """
    parameters = dict(model.named_parameters(trained_only=True))
    mean = {name: np.zeros_like(parameter.value) for name, parameter in parameters.items()}
    squares = {name: np.zeros_like(parameter.value) for name, parameter in parameters.items()}
    count = 0
    with untouched(model, training=False):
        for batch in batches:
            count += 1
            model.zero_grad()
            model.loss_and_backward(*batch)
            for name, parameter in parameters.items():
                grad = parameter.trained_grad
                difference = grad - mean[name]
                mean[name] += difference / count
                squares[name] += difference * (grad - mean[name])
    if count < 2:
        raise ValueError(f"gradient_moments: needs at least 2 batches, got {count}.")
    return GradientMoments(
        count, mean, {name: total / (count - 1) for name, total in squares.items()}
    )


def _sum_of_squares(array: np.ndarray) -> float:
    return float(np.sum(np.square(array, dtype=np.float64)))

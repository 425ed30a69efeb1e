"""How tokens are drawn, for the commands that write text."""

from __future__ import annotations

import dataclasses

from npgpt.fields import option
from npgpt.generation.sampling import check_sampling


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Arguments of `LanguageModel.stream`.

    Parameters
    ----------
    temperature : float
        Below 1 is safer, above 1 bolder; 0 is greedy.
    top_k : int, optional
        Draw from this many likeliest tokens.
    top_p : float, optional
        Draw from the likeliest tokens that reach this share.
    repetition_penalty : float
        Above 1, tokens that are there already become less likely.
    seed : int, optional
        Same seed, same text.
    """

    temperature: float = option(default=0.8, minimum=0)
    top_k: int | None = option(default=None, minimum=1)
    top_p: float | None = option(default=None)
    repetition_penalty: float = option(default=1.0)
    seed: int | None = option(default=None, minimum=0)

    def __post_init__(self) -> None:
        check_sampling(self.temperature, self.top_k, self.top_p, self.repetition_penalty)

"""What happened in one step of learning byte pairs."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class MergeStep:
    """One step of training.

    Attributes
    ----------
    left, right : bytes or str
        The two tokens that were the most frequent neighbours.
    count : int
        How often they were.
    token : bytes or str
        The token they became.
    tokens_left : int
        Tokens of the training text afterwards.
    """

    left: bytes | str
    right: bytes | str
    count: int
    token: bytes | str
    tokens_left: int

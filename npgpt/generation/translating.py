"""How a model of pairs translates unless a call says otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from npgpt.fields import check_real, check_whole


@dataclasses.dataclass(frozen=True)
class Translating:
    """Where translations begin and end, and how they are searched for.

    Parameters
    ----------
    start_id, end_id : int, optional
        What a target begins with, and the token that ends it.
    forced_end_id : int, optional
        The token that stands last, with probability 1, in a target of ``max_new_tokens``.
    max_new_tokens : int, optional
        Of a target; its end token counts. By default 128, or as many as there are positions.
    num_beams : int
        Beginnings of targets that are kept; with one the search is greedy.
    length_penalty : float
        See `npgpt.generation.LENGTH_PENALTIES`.
    suppressed : collection of int
        Ids that are never written, such as padding.
    renormalize : bool
        Whether the probabilities of the tokens that are left sum to 1 where some are suppressed.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> Translating(start_id=7, end_id=0).changed({"num_beams": 4, "end_id": None}).end_id
    0
    """

    start_id: int | None = None
    end_id: int | None = None
    forced_end_id: int | None = None
    max_new_tokens: int | None = None
    num_beams: int = 1
    length_penalty: float = 1.0
    suppressed: Collection[int] = ()
    renormalize: bool = True

    def __post_init__(self) -> None:
        ids = {name: getattr(self, name) for name in ("start_id", "end_id", "forced_end_id")}
        check_whole("Translating", **{name: i for name, i in ids.items() if i is not None})
        if self.max_new_tokens is not None:
            check_whole("Translating", 1, max_new_tokens=self.max_new_tokens)
        check_whole("Translating", 1, num_beams=self.num_beams)
        check_real("Translating", length_penalty=self.length_penalty)

    def changed(self, choices: Mapping[str, Any]) -> Translating:
        """Return another one with other values of the fields whose new one is not None."""
        given = {name: value for name, value in choices.items() if value is not None}
        return dataclasses.replace(self, **given)

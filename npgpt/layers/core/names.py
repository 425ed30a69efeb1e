"""Where a dotted name is in a model: in which stack, in which of its blocks, and where in that."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

NUMBERED = re.compile(r"(.+?)\.(\d+|\*)(?:\.(.+))?")
OF_LAYER = re.compile(r"(.+)_l(\d+)(_reverse)?")


class Place(NamedTuple):
    """A dotted name, cut at its first number.

    Attributes
    ----------
    stack : str
        ``encoder.blocks`` of ``encoder.blocks.3.attention.qkv``; empty if there is no number.
    number : int or None
        Of the block; None if there is none, and in a pattern.
    rest : str
        ``attention.qkv``; empty for the block itself, the whole name if there is no number.
    """

    stack: str
    number: int | None
    rest: str

    @property
    def is_block(self) -> bool:
        """Whether this is a block, or the pattern of a stack's blocks."""
        return bool(self.stack) and not self.rest


@cache  # a log of gradient flow has the same names thousands of times
def place_of(name: str) -> Place:
    """Cut a name, or a pattern, at its first number, or at ``*``.

    Examples
    --------
    >>> place_of("encoder.blocks.3.attention.qkv")
    Place(stack='encoder.blocks', number=3, rest='attention.qkv')
    >>> place_of("final_norm.gamma")
    Place(stack='', number=None, rest='final_norm.gamma')
    """
    found = NUMBERED.fullmatch(name)
    if found is None:
        return Place("", None, name)
    stack, number, rest = found.groups(default="")
    return Place(stack, None if number == "*" else int(number), rest)


def pattern_of(name: str) -> tuple[str, int | None]:
    """Put ``*`` for a name's first number, and return that number too; None if there is none.

    Examples
    --------
    >>> pattern_of("blocks.3.attention.qkv.weight")
    ('blocks.*.attention.qkv.weight', 3)
    >>> pattern_of("encoder.blocks.3"), pattern_of("final_norm")
    (('encoder.blocks.*', 3), ('final_norm', None))
    """
    stack, number, rest = place_of(name)
    return ".".join(filter(None, (stack, "*" * bool(stack), rest))), number


def layer_of(name: str) -> tuple[str, int | None]:
    """Take the layer off a name's end, as the parts of recurrent layers have it; None if none.

    Examples
    --------
    >>> layer_of("network.weight_ih_l1"), layer_of("cell_l0_reverse"), layer_of("output")
    (('network.weight_ih', 1), ('cell_reverse', 0), ('output', None))
    """
    found = OF_LAYER.fullmatch(name)
    if found is None:
        return name, None
    rest, layer, direction = found.groups(default="")
    return rest + direction, int(layer)


def depth_of(name: str) -> int | None:
    """Return the number of the block that a name is in, or of the layer that its end names.

    Examples
    --------
    >>> depth_of("blocks.3.attention.q"), depth_of("network.cell_l1"), depth_of("head.weight")
    (3, 1, None)
    """
    number = place_of(name).number
    return layer_of(name)[1] if number is None else number


def parent_of(name: str) -> str:
    """Return the name of the layer that holds one; a block is held by what holds its stack.

    Examples
    --------
    >>> parent_of("encoder.blocks.*.attention"), parent_of("encoder.blocks.*"), parent_of("head")
    ('encoder.blocks.*', 'encoder', '')
    """
    *path, last = name.split(".")
    return ".".join(path[:-1] if last == "*" or last.isdigit() else path)


def stacks_of(names: Iterable[str]) -> dict[str, range]:
    """Map each stack to the depths of its blocks, which go on from one stack to the next.

    Examples
    --------
    >>> stacks_of(["encoder.blocks.0.residual", "encoder.blocks.1.residual", "decoder.blocks.0"])
    {'encoder.blocks': range(0, 2), 'decoder.blocks': range(2, 3)}
    """
    sizes: dict[str, int] = {}
    for stack, number, _ in map(place_of, names):
        if number is not None:
            sizes[stack] = max(sizes.get(stack, 0), number + 1)
    depths: dict[str, range] = {}
    begin = 0
    for stack, size in sizes.items():
        depths[stack] = range(begin, begin + size)
        begin += size
    return depths

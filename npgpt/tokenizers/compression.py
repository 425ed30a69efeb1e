"""Byte-pair compression: where the name of byte-pair encoding comes from."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

Table = dict[int, tuple[int, int]]


def compress(content: bytes) -> tuple[bytes, Table]:
    r"""Replace the most frequent pair of bytes by a byte that does not occur, again and again.

    It ends when no pair occurs more than once, or every byte is in use (Gage 1994, "A New Algorithm
    for Data Compression", C Users Journal 12(2)). Of equally frequent pairs the lowest is replaced,
    by the lowest byte that is free.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    compressed : bytes
    table : dict of int to (int, int)
        What each new byte stands for, in the order of replacing.

    Examples
    --------
    >>> compressed, table = compress(b"aaabdaaabac")
    >>> len(compressed), [bytes(pair) for pair in table.values()]
    (5, [b'aa', b'\x00a', b'\x01b'])
    >>> decompress(compressed, table)
    b'aaabdaaabac'
    """
    table: Table = {}
    free = sorted(set(range(256)) - set(content))
    for new in free:
        counts = count_pairs(content)
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        content = content.replace(bytes(best), bytes([new]))
        table[new] = best
    return content, table


def count_pairs(content: bytes) -> Counter[tuple[int, int]]:
    """Count how many places each pair of neighbours has that do not overlap.

    Examples
    --------
    >>> count_pairs(b"aaab")
    Counter({(97, 97): 1, (97, 98): 1})
    """
    counts = Counter(pairwise(content))
    for left, right in counts:
        if left == right:  # the only pairs that overlap with themselves
            counts[left, right] = content.count(bytes([left, right]))
    return counts


def decompress(compressed: bytes, table: Table) -> bytes:
    """Undo `compress`.

    Parameters
    ----------
    compressed : bytes
    table : dict of int to (int, int)
    """
    for new, pair in reversed(table.items()):
        compressed = compressed.replace(bytes([new]), bytes(pair))
    return compressed

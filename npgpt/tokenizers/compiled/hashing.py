"""Hash tables in arrays: of pairs of ids, and of pre-tokens."""

from __future__ import annotations

import numpy as np

from npgpt.tokenizers.compiled.splitting import inline_kernel, kernel

EMPTY = np.int64(-1)
# of FNV-1a (Fowler, Noll and Vo), and of Fibonacci hashing (Knuth, volume 3, section 6.4)
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
UPPER_HALF = np.uint64(32)


def power_of_two(at_least: int) -> int:
    """Return the lowest power of two that is not below a number."""
    return 1 << max(0, int(at_least) - 1).bit_length()


@inline_kernel
def hash_bytes(content, start, end):
    """Return a hash of some bytes."""
    value = FNV_OFFSET
    for i in range(start, end):
        value = (value ^ np.uint64(content[i])) * FNV_PRIME
    return value ^ (value >> UPPER_HALF)


@kernel
def pair_key(left, right):
    """Write a pair of ids as one number; pairs and numbers have the same order."""
    return (np.int64(left) << 32) | np.int64(right)


@kernel
def find_pair(table, keys, key):
    """Return the slot of ``table`` that holds the index of a pair, or the free one for it.

    Parameters
    ----------
    table : ndarray of int64
        Indices into ``keys``, or -1; its size is a power of two, more than half of it free.
    keys : ndarray of int64
    key : int64
    """
    mask = np.int64(table.size - 1)
    slot = np.int64((np.uint64(key) * GOLDEN) >> UPPER_HALF) & mask
    while table[slot] != EMPTY and keys[table[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@kernel
def table_of_pairs(keys, size):
    """Make the table for `find_pair`."""
    table = np.full(size, EMPTY, np.int64)
    for i in range(keys.size):
        table[find_pair(table, keys, keys[i])] = i
    return table

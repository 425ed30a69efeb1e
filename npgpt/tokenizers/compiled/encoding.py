"""From bytes to ids, and back."""

from __future__ import annotations

import numpy as np

from npgpt.tokenizers.compiled.hashing import EMPTY, find_pair, hash_bytes, pair_key
from npgpt.tokenizers.compiled.splitting import end_of_pre_token, inline_kernel, kernel

CACHE_SLOTS = 1 << 15
LONGEST_KEPT, MOST_IDS_KEPT = 16, 8  # bytes and ids of a pre-token that is remembered
SHORT = 96  # bytes; longer pre-tokens are merged with a heap
NOT_LEARNED = np.int64(1) << 40


def new_cache(slots: int = CACHE_SLOTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make room for pre-tokens and their ids; each has one slot, in which the last one stays.

    Returns
    -------
    sizes : ndarray of uint8, shape (slots, 2)
        Bytes and ids of what is there; 0 if nothing is.
    content : ndarray of uint8, shape (slots, LONGEST_KEPT)
    ids : ndarray of int32, shape (slots, MOST_IDS_KEPT)
    """
    sizes = np.zeros((slots, 2), np.uint8)
    return sizes, np.zeros((slots, LONGEST_KEPT), np.uint8), np.zeros((slots, MOST_IDS_KEPT), "i4")


@kernel
def encode(content, categories, byte_ids, table, keys, sizes, kept, kept_ids, ids):
    """Write the ids of bytes into ``ids``; return how many there are.

    Parameters
    ----------
    content : ndarray of uint8
    categories : ndarray of uint8
        From `code_point_categories`.
    byte_ids : ndarray of int32, shape (256,)
    table, keys : ndarray of int64
        The merges as keys, in the order of learning, and their hash table.
    sizes, kept, kept_ids : ndarray
        From `new_cache`.
    ids : ndarray of int32, shape (at least the number of bytes,)
    """
    mask = np.uint64(len(sizes) - 1)
    ranks = np.empty(SHORT, np.int64)
    count, start = 0, 0
    while start < content.size:
        end = end_of_pre_token(content, start, categories)
        length = end - start
        if length == 1:
            ids[count] = byte_ids[content[start]]
            count += 1
        elif length > LONGEST_KEPT:
            count += encode_pre_token(content[start:end], byte_ids, table, keys, ranks, ids[count:])
        else:
            slot = np.int64(hash_bytes(content, start, end) & mask)
            if not is_kept(content, start, length, slot, sizes, kept):
                part = ids[count : count + length]
                new = encode_pre_token(content[start:end], byte_ids, table, keys, ranks, part)
                if new <= MOST_IDS_KEPT:
                    sizes[slot, 0], sizes[slot, 1] = length, new
                    kept[slot, :length] = content[start:end]
                    kept_ids[slot, :new] = part[:new]
                count += new
            else:
                for k in range(sizes[slot, 1]):
                    ids[count + k] = kept_ids[slot, k]
                count += sizes[slot, 1]
        start = end
    return count


@inline_kernel
def is_kept(content, start, length, slot, sizes, kept):
    """Say whether a slot of the cache holds this pre-token."""
    if sizes[slot, 0] != length:
        return False
    for k in range(length):  # noqa: SIM110  (a loop that Numba compiles)
        if kept[slot, k] != content[start + k]:
            return False
    return True


@kernel
def encode_pre_token(part, byte_ids, table, keys, ranks, ids):
    """Write the ids of one pre-token; return how many there are."""
    for i in range(part.size):
        ids[i] = byte_ids[part[i]]
    if part.size <= SHORT:
        return merge_short(part.size, table, keys, ranks, ids)
    return merge_long(part.size, table, keys, ids)


@kernel
def rank_of(left, right, table, keys):
    """Return when a pair was learned, or `NOT_LEARNED`."""
    place = table[find_pair(table, keys, pair_key(left, right))]
    return place if place != EMPTY else NOT_LEARNED


@kernel
def merge_short(count, table, keys, ranks, ids):
    """Merge the pair learned first, the leftmost of equal ones, until none was learned."""
    for i in range(count - 1):
        ranks[i] = rank_of(ids[i], ids[i + 1], table, keys)
    while count > 1:
        best = 0
        for i in range(1, count - 1):
            if ranks[i] < ranks[best]:
                best = i
        if ranks[best] == NOT_LEARNED:
            break
        ids[best] = 256 + ranks[best]
        count -= 1
        for i in range(best + 1, count):
            ids[i] = ids[i + 1]
        for i in range(best + 1, count - 1):
            ranks[i] = ranks[i + 1]
        if best + 1 < count:
            ranks[best] = rank_of(ids[best], ids[best + 1], table, keys)
        if best > 0:
            ranks[best - 1] = rank_of(ids[best - 1], ids[best], table, keys)
    return count


@kernel
def merge_long(count, table, keys, ids):
    """Do what `merge_short` does in n log n: a heap of (rank, place), and tokens in a chain."""
    following = np.arange(1, count + 1)
    before = np.arange(-1, count - 1)
    heap = np.empty(3 * count, np.int64)  # each merge adds two pairs and takes away one token
    size = 0
    for i in range(count - 1):
        rank = rank_of(ids[i], ids[i + 1], table, keys)
        if rank != NOT_LEARNED:
            size = push(heap, size, pair_key(rank, i))
    while size:
        rank, i = heap[0] >> 32, heap[0] & 0xFFFFFFFF
        size = pop(heap, size)
        j = following[i]
        if ids[i] < 0 or j >= count or rank_of(ids[i], ids[j], table, keys) != rank:
            continue  # an earlier merge took the pair apart
        ids[i], ids[j] = 256 + rank, -1
        following[i] = following[j]
        if following[i] < count:
            before[following[i]] = i
            rank = rank_of(ids[i], ids[following[i]], table, keys)
            if rank != NOT_LEARNED:
                size = push(heap, size, pair_key(rank, i))
        if before[i] >= 0:
            rank = rank_of(ids[before[i]], ids[i], table, keys)
            if rank != NOT_LEARNED:
                size = push(heap, size, pair_key(rank, before[i]))
    left = 0
    for i in range(count):
        if ids[i] >= 0:
            ids[left] = ids[i]
            left += 1
    return left


@kernel
def push(heap, size, value):
    """Add a number to a heap whose lowest comes first; return the new size."""
    i = size
    while i > 0 and value < heap[(i - 1) >> 1]:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = value
    return size + 1


@kernel
def pop(heap, size):
    """Take the lowest number out of a heap; return the new size."""
    size -= 1
    value = heap[size]
    i = 0
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if value <= heap[child]:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = value
    return size


@kernel
def decode(ids, starts, pieces, content):
    """Write the bytes of tokens one after another.

    Parameters
    ----------
    ids : ndarray of int64
    starts : ndarray of int64, shape (vocab_size + 1,)
        Where each token begins in ``pieces``.
    pieces : ndarray of uint8
        The bytes of all tokens.
    content : ndarray of uint8
        As many as the tokens have together.
    """
    place = 0
    for token in ids:
        for i in range(starts[token], starts[token + 1]):
            content[place] = pieces[i]
            place += 1

"""Learning byte-pair merges; `npgpt.tokenizers.reference.learn_merges` is the specification.

The distinct words lie one after another in one array, each position linked to the one before and
after it in its word. Every pair has a list of the positions where it began when it arose, so that a
merge visits those alone. A pair arises within one merge (that of its newer token), and only loses
occurrences afterwards; so a heap with the counts of that moment finds the most frequent one, and a
count that turns out to be out of date is put right when it reaches the top.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npgpt.tokenizers.compiled.hashing import (
    EMPTY,
    find_pair,
    pair_key,
    table_of_pairs,
)
from npgpt.tokenizers.compiled.splitting import kernel

AT_ONCE = 64  # merges between two reports of progress
MOST_POSITIONS = (2**31 - 1) // 3
NUM_PAIRS, NUM_NODES, HEAP_SIZE, TOKENS_LEFT = range(4)  # places in `sizes`
COUNT, TOKENS = range(2)  # places in a row of the record


def learn_merges(
    ids: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    num_merges: int,
    first_id: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the most frequent pair of neighbours, again and again.

    Of pairs with equal counts the one with the lowest ids is merged.

    Parameters
    ----------
    ids : ndarray of int, shape (positions,)
        The distinct words, one after another.
    starts : ndarray of int, shape (words + 1,)
        Where each word begins.
    counts : ndarray of int, shape (words,)
        How often each word occurs.
    num_merges : int
        Stops earlier when no pair occurs more than once.
    first_id : int
        Id of the first merged token; the following count up.
    progress : function, optional
        Called with (done, total).

    Returns
    -------
    merges : ndarray of int64, shape (merges, 2)
    record : ndarray of int64, shape (merges, 2)
        The count of each pair when it was merged, and the tokens that were left afterwards.

    Raises
    ------
    ValueError
        If there are more positions than 32-bit numbers can count.
    """
    if len(ids) > MOST_POSITIONS:
        raise ValueError(
            f"learn_merges: the distinct words have {len(ids):,} bytes together, the most is "
            f"{MOST_POSITIONS:,}; train on a part of the text."
        )
    ids = ids.astype(np.int32)
    words = np.repeat(np.arange(len(counts), dtype=np.int32), np.diff(starts))
    following = np.arange(1, len(ids) + 1, dtype=np.int32)
    following[starts[1:] - 1] = -1
    before = np.arange(-1, len(ids) - 1, dtype=np.int32)
    before[starts[:-1]] = -1
    sizes = np.zeros(4, np.int64)
    sizes[TOKENS_LEFT] = int((np.diff(starts) * counts).sum())
    chain = (ids, before, following, words, counts.astype(np.int64))
    state = first_pairs(*chain, sizes)
    merges, record = np.empty((num_merges, 2), np.int64), np.empty((num_merges, 2), np.int64)
    done, before_done = 0, -1
    while done < num_merges and done > before_done:
        before_done = done
        end = min(num_merges, done + AT_ONCE) if progress else num_merges
        done, *state = learn(done, end, first_id, merges, record, *chain, sizes, *state)
        if progress:
            for number in range(before_done, done):
                progress(number + 1, num_merges)
    return merges[:done], record[:done]


@kernel
def first_pairs(ids, before, following, words, frequencies, sizes):
    """Count the pairs of all words, and put them in a heap.

    Returns
    -------
    table, keys : ndarray
        For `find_pair`.
    counts, heads, tails, lengths : ndarray
        Of each pair: how often it occurs, and the first, the last and the number of its nodes.
    places, next_nodes : ndarray
        Of each node: the position, and the next node of the same pair.
    heap_counts, heap_pairs : ndarray
        The heap.
    """
    room = 1 << 12
    keys = np.empty(room, np.int64)
    counts, lengths = np.zeros(room, np.int64), np.zeros(room, np.int32)
    heads, tails = np.empty(room, np.int32), np.empty(room, np.int32)
    table = np.full(4 * room, EMPTY, np.int64)
    places = np.empty(ids.size + 1, np.int32)
    next_nodes = np.empty(ids.size + 1, np.int32)
    for i in range(ids.size):
        j = following[i]
        if j < 0:
            continue
        if sizes[NUM_PAIRS] + 1 > keys.size:
            table, keys, counts, heads, tails, lengths = more_pairs(
                2 * keys.size, sizes[NUM_PAIRS], keys, counts, heads, tails, lengths
            )
        add_occurrence(
            i, pair_key(ids[i], ids[j]), frequencies[words[i]],
            table, keys, counts, heads, tails, lengths, places, next_nodes, sizes,
        )  # fmt: skip
    heap_counts, heap_pairs = np.empty(keys.size, np.int64), np.empty(keys.size, np.int64)
    for pair in range(sizes[NUM_PAIRS]):
        push_pair(heap_counts, heap_pairs, sizes, counts[pair], pair, keys)
    return (table, keys, counts, heads, tails, lengths, places, next_nodes, heap_counts, heap_pairs)


@kernel
def learn(
    done, end, first_id, merges, record,
    ids, before, following, words, frequencies, sizes,
    table, keys, counts, heads, tails, lengths, places, next_nodes, heap_counts, heap_pairs,
):  # fmt: skip
    """Learn merges ``done`` to ``end``; return how many there are, and the arrays, which grow."""
    while done < end:
        pair = most_frequent(heap_counts, heap_pairs, sizes, counts, keys)
        if pair < 0:
            break
        # a merge makes at most two new pairs and two new nodes at each place
        pairs, nodes = sizes[NUM_PAIRS], sizes[NUM_NODES]
        if pairs + 2 * lengths[pair] > keys.size:
            room = 2 * max(keys.size, pairs + 2 * lengths[pair])
            table, keys, counts, heads, tails, lengths = more_pairs(
                room, pairs, keys, counts, heads, tails, lengths
            )
            heap_counts, heap_pairs = resized(heap_counts, room), resized(heap_pairs, room)
        if nodes + 2 * lengths[pair] > places.size:
            room = 2 * max(places.size, nodes + 2 * lengths[pair])
            places, next_nodes = resized(places, room), resized(next_nodes, room)
        left, right = keys[pair] >> 32, keys[pair] & 0xFFFFFFFF
        merges[done, 0], merges[done, 1] = left, right
        record[done, COUNT] = counts[pair]
        merge(
            pair, left, right, first_id + done, ids, before, following, words, frequencies, sizes,
            table, keys, counts, heads, tails, lengths, places, next_nodes,
        )  # fmt: skip
        for new_pair in range(pairs, sizes[NUM_PAIRS]):
            push_pair(heap_counts, heap_pairs, sizes, counts[new_pair], new_pair, keys)
        record[done, TOKENS] = sizes[TOKENS_LEFT]
        done += 1
    return (
        done, table, keys, counts, heads, tails, lengths, places, next_nodes,
        heap_counts, heap_pairs,
    )  # fmt: skip


@kernel
def merge(
    pair, left, right, new_id, ids, before, following, words, frequencies, sizes,
    table, keys, counts, heads, tails, lengths, places, next_nodes,
):  # fmt: skip
    """Replace a pair by one token, wherever it is; keep the counts of its neighbours right."""
    node = heads[pair]
    while node >= 0:
        i = places[node]
        node = next_nodes[node]
        j = following[i]
        if ids[i] != left or j < 0 or ids[j] != right:
            continue  # another merge took it apart
        frequency = frequencies[words[i]]
        h, k = before[i], following[j]
        if h >= 0:
            counts[table[find_pair(table, keys, pair_key(ids[h], left))]] -= frequency
        if k >= 0:
            counts[table[find_pair(table, keys, pair_key(right, ids[k]))]] -= frequency
        ids[i], ids[j] = new_id, -1
        following[i] = k
        if k >= 0:
            before[k] = i
            add_occurrence(
                i, pair_key(new_id, ids[k]), frequency,
                table, keys, counts, heads, tails, lengths, places, next_nodes, sizes,
            )  # fmt: skip
        if h >= 0:
            add_occurrence(
                h, pair_key(ids[h], new_id), frequency,
                table, keys, counts, heads, tails, lengths, places, next_nodes, sizes,
            )  # fmt: skip
        sizes[TOKENS_LEFT] -= frequency
    counts[pair] = 0


@kernel
def add_occurrence(
    i, key, frequency, table, keys, counts, heads, tails, lengths, places, next_nodes, sizes
):
    """Note that a pair begins at position ``i``."""
    slot = find_pair(table, keys, key)
    pair = table[slot]
    node = sizes[NUM_NODES]
    sizes[NUM_NODES] += 1
    places[node], next_nodes[node] = i, -1
    if pair == EMPTY:
        pair = sizes[NUM_PAIRS]
        sizes[NUM_PAIRS] += 1
        table[slot], keys[pair] = pair, key
        counts[pair], lengths[pair], heads[pair] = 0, 0, node
    else:
        next_nodes[tails[pair]] = node
    tails[pair] = node
    counts[pair] += frequency
    lengths[pair] += 1


@kernel
def more_pairs(room, pairs, keys, counts, heads, tails, lengths):
    """Make room for more pairs."""
    table = table_of_pairs(keys[:pairs], 4 * (1 << int(np.ceil(np.log2(room)))))
    return (
        table, resized(keys, room), resized(counts, room), resized(heads, room),
        resized(tails, room), resized(lengths, room),
    )  # fmt: skip


@kernel
def resized(array, room):
    """Copy an array into a longer one."""
    longer = np.empty(room, array.dtype)
    longer[: array.size] = array
    return longer


# --- the heap: the highest count comes first, of equal ones the lowest pair ----------------------


@kernel
def comes_before(count, key, other_count, other_key):
    """Say whether a pair is merged before another."""
    return count > other_count or (count == other_count and key < other_key)


@kernel
def push_pair(heap_counts, heap_pairs, sizes, count, pair, keys):
    """Add a pair, if it occurs more than once."""
    if count < 2:
        return
    i = sizes[HEAP_SIZE]
    sizes[HEAP_SIZE] += 1
    while i > 0:
        parent = (i - 1) >> 1
        if not comes_before(count, keys[pair], heap_counts[parent], keys[heap_pairs[parent]]):
            break
        heap_counts[i], heap_pairs[i] = heap_counts[parent], heap_pairs[parent]
        i = parent
    heap_counts[i], heap_pairs[i] = count, pair


@kernel
def most_frequent(heap_counts, heap_pairs, sizes, counts, keys):
    """Take out the pair that occurs most often, or return -1 if none occurs more than once."""
    while sizes[HEAP_SIZE] > 0:
        pair = heap_pairs[0]
        current = heap_counts[0] == counts[pair]
        if current or counts[pair] < 2:
            sizes[HEAP_SIZE] -= 1
            last = sizes[HEAP_SIZE]
            sink(heap_counts, heap_pairs, sizes, heap_counts[last], heap_pairs[last], keys)
            if current:
                return pair
        else:  # out of date
            sink(heap_counts, heap_pairs, sizes, counts[pair], pair, keys)
    return np.int64(-1)


@kernel
def sink(heap_counts, heap_pairs, sizes, count, pair, keys):
    """Put a pair in the place of the first one, and then where it belongs."""
    i, size = 0, sizes[HEAP_SIZE]
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and comes_before(
            heap_counts[child + 1], keys[heap_pairs[child + 1]],
            heap_counts[child], keys[heap_pairs[child]],
        ):  # fmt: skip
            child += 1
        if not comes_before(heap_counts[child], keys[heap_pairs[child]], count, keys[pair]):
            break
        heap_counts[i], heap_pairs[i] = heap_counts[child], heap_pairs[child]
        i = child
    heap_counts[i], heap_pairs[i] = count, pair

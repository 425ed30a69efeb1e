"""Learning byte-pair merges (Sennrich, Haddow and Birch 2016, arXiv 1508.07909, algorithm 1)."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise

Pair = tuple[int, int]


def learn_merges(
    words: dict[tuple[int, ...], int],
    num_merges: int,
    first_id: int,
    progress: Callable[[int, int], None] | None = None,
    record: list[tuple[int, int]] | None = None,
) -> list[Pair]:
    """Merge the most frequent pair of neighbours, again and again.

    Of pairs with equal counts the one with the lowest ids is merged. The result is that of counting
    all pairs anew before each merge; here only the words that hold the merged pair are counted
    again, and a heap holds the counts (with stale entries, which are put right when they surface).

    Parameters
    ----------
    words : dict of tuple of int to int
        Pre-tokens as ids, and how often each occurs.
    num_merges : int
        Stops earlier when no pair occurs more than once.
    first_id : int
        Id of the first merged token; the following count up.
    progress : function, optional
        Called with (done, total).
    record : list, optional
        Gets (count of the pair, tokens that are left) of each merge.

    Returns
    -------
    list of (int, int)
        The merged pairs, in order.
    """
    pieces = [list(word) for word in words]
    frequencies = list(words.values())
    counts: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[int]] = defaultdict(set)  # words in which a pair occurs, or did
    for i, word in enumerate(pieces):
        for pair in pairwise(word):
            counts[pair] += frequencies[i]
            holders[pair].add(i)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)

    merges: list[Pair] = []
    tokens_left = sum(len(word) * count for word, count in words.items())
    while len(merges) < num_merges and heap:
        negative_count, pair = heapq.heappop(heap)
        count = counts[pair]
        if -negative_count != count:  # a stale entry: counts only fall after it was pushed
            if count > 0:
                heapq.heappush(heap, (-count, pair))
            continue
        if count < 2:
            break
        new_id = first_id + len(merges)
        merges.append(pair)
        changed: Counter[Pair] = Counter()
        for i in holders.pop(pair):
            before = pieces[i]
            after = merge_pair(before, pair, new_id)
            if len(after) == len(before):
                continue  # an earlier merge took the pair apart
            for old in pairwise(before):
                changed[old] -= frequencies[i]
            for new in pairwise(after):
                changed[new] += frequencies[i]
                if new_id in new:
                    holders[new].add(i)
            pieces[i] = after
            tokens_left -= frequencies[i] * (len(before) - len(after))
        for changed_pair, change in changed.items():
            if change:
                counts[changed_pair] += change
                if change > 0:  # only pairs with the new token gain
                    heapq.heappush(heap, (-counts[changed_pair], changed_pair))
        if record is not None:
            record.append((count, tokens_left))
        if progress:
            progress(len(merges), num_merges)
    return merges


def merge_pair(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    """Replace every occurrence of a pair, from the left, by one id."""
    merged = []
    i = 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged

"""Sentence pairs: read, split, encoded.

`read_pairs` reads them from files, from the machine's catalogues of messages, or makes those of a
built-in task; `split_pairs` holds some out by the hash of their source; `PairTexts` are their
token ids, of which `npgpt.data.TokenBudget` makes batches.
"""

from npgpt.data.pairs.corpus import Pair, PairCorpus, PairParts, split_pairs
from npgpt.data.pairs.reading import BUILT_IN_PAIRS, read_pairs

__all__ = ["BUILT_IN_PAIRS", "Pair", "PairCorpus", "PairParts", "read_pairs", "split_pairs"]

"""Sentence pairs: read, split, encoded.

`read_pairs` reads them from files, from the machine's catalogues of messages, or makes those of a
built-in task; `split_pairs` holds some out by the hash of their source; `train_tokenizers` and
`encode_pairs` make `PairTexts` of them, of which `npgpt.data.BatchLoader` makes batches.
"""

from npgpt.data.pairs.corpus import Pair, PairCorpus, PairParts, split_pairs
from npgpt.data.pairs.reading import BUILT_IN_PAIRS, read_pairs
from npgpt.data.pairs.texts import PairTexts, encode_pairs
from npgpt.data.pairs.tokenizers import PairTokenizers, train_tokenizers

__all__ = [
    "BUILT_IN_PAIRS",
    "Pair",
    "PairCorpus",
    "PairParts",
    "PairTexts",
    "PairTokenizers",
    "encode_pairs",
    "read_pairs",
    "split_pairs",
    "train_tokenizers",
]

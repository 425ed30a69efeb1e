"""Data: texts, windows of tokens (`TokenWindows`) or streams (`TokenStreams`), batches.

`load_corpus` reads a text (`stream_corpus` piece by piece), `TokenWindows` cuts its ids in inputs
and targets, `DataLoader` makes shuffled batches whose position can be saved (`BatchLoader` those
of a `TokenBudget`), `HeldOutBatches` and `StridedWindows` the ones to evaluate on. Sentence pairs
are in `npgpt.data.pairs`.
"""

from npgpt.data.batch_loader import BatchLoader
from npgpt.data.built_in import BUILT_IN_CORPORA
from npgpt.data.corpora import (
    Corpus,
    encode_documents,
    load_corpus,
    split_corpus,
    stream_corpus,
)
from npgpt.data.datasets import Dataset, Draws, RandomDataset
from npgpt.data.each_masked import EachTokenMasked
from npgpt.data.held_out import HeldOutBatches, HeldOutBudget
from npgpt.data.loader import DataLoader
from npgpt.data.masking import (
    MaskedWords,
    continuing_pieces,
    mask_id_of,
    masked_words,
    never_asked_for,
)
from npgpt.data.samplers import (
    Balanced,
    BatchSampler,
    LengthGrouped,
    Sampler,
    Shuffled,
    TokenBudget,
)
from npgpt.data.streams import StreamedCorpus, encode_pieces, write_token_folder
from npgpt.data.strided import StridedWindows
from npgpt.data.token_files import TokenFile, read_tokens, token_writer
from npgpt.data.token_folder import TokenFolder
from npgpt.data.token_streams import TokenStreams
from npgpt.data.windows import TokenWindows

__all__ = [
    "BUILT_IN_CORPORA",
    "Balanced",
    "BatchLoader",
    "BatchSampler",
    "Corpus",
    "DataLoader",
    "Dataset",
    "Draws",
    "EachTokenMasked",
    "HeldOutBatches",
    "HeldOutBudget",
    "LengthGrouped",
    "MaskedWords",
    "RandomDataset",
    "Sampler",
    "Shuffled",
    "StreamedCorpus",
    "StridedWindows",
    "TokenBudget",
    "TokenFile",
    "TokenFolder",
    "TokenStreams",
    "TokenWindows",
    "continuing_pieces",
    "encode_documents",
    "encode_pieces",
    "load_corpus",
    "mask_id_of",
    "masked_words",
    "never_asked_for",
    "read_tokens",
    "split_corpus",
    "stream_corpus",
    "token_writer",
    "write_token_folder",
]

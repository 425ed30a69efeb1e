"""The specification in the compiled code's form, for where Numba does not compile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from npgpt.tokenizers.reference.merging import encode
from npgpt.tokenizers.reference.pre_tokens import pre_tokens_of_bytes
from npgpt.tokenizers.reference.training import Pair
from npgpt.tokenizers.reference.training import learn_merges as learn
from npgpt.tokenizers.reference.word_pieces import PieceEncoder as PieceEncoder
from npgpt.tokenizers.reference.word_pieces import Speller as Speller

FIRST_MERGED = 256  # the id of the first merge; below it are the bytes


class MergeEncoder:
    """Bytes to ids; see `npgpt.tokenizers.compiled.codec.MergeEncoder`."""

    def __init__(self, byte_ids: Sequence[int], merges: Sequence[Pair]):
        self._byte_ids = byte_ids
        self._merges = {pair: FIRST_MERGED + i for i, pair in enumerate(merges)}

    def __call__(self, content: bytes) -> np.ndarray:
        """Return the ids, int32."""
        return np.array(encode(content, self._byte_ids, self._merges), np.int32)


class PieceDecoder:
    """Ids to bytes; see `npgpt.tokenizers.compiled.codec.PieceDecoder`."""

    def __init__(self, pieces: Sequence[bytes]):
        self.lengths = np.array([len(piece) for piece in pieces], np.int64)
        self._pieces = pieces

    def __call__(self, ids: np.ndarray) -> bytes:
        """Return the bytes of ids, which must be in the vocabulary."""
        return b"".join(self._pieces[i] for i in ids)


class PreTokenCounts:
    """Counts of distinct pre-tokens; see `npgpt.tokenizers.compiled.counting.PreTokenCounts`."""

    def __init__(self) -> None:
        self._words: Counter[bytes] = Counter()

    def update(self, content: bytes) -> None:
        """Count the pre-tokens of some bytes."""
        self._words.update(pre_tokens_of_bytes(content))

    @property
    def counts(self) -> np.ndarray:
        """How often each occurs, in the order of their first occurrence."""
        return np.array([*self._words.values()], np.int64)

    @property
    def starts(self) -> np.ndarray:
        """Where each begins in `content`; one entry more, for the end of the last one."""
        return np.cumsum([0, *map(len, self._words)])

    @property
    def content(self) -> np.ndarray:
        """The bytes of all of them, once each."""
        return np.frombuffer(b"".join(self._words), np.uint8)


def learn_merges(
    ids: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    num_merges: int,
    first_id: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Learn merges; see `npgpt.tokenizers.compiled.training.learn_merges`."""
    words = {
        tuple(ids[start:end].tolist()): int(count)
        for start, end, count in zip(starts[:-1], starts[1:], counts, strict=True)
    }
    record: list[tuple[int, int]] = []
    merges = learn(words, num_merges, first_id, progress, record)
    return np.array(merges, np.int64).reshape(-1, 2), np.array(record, np.int64).reshape(-1, 2)

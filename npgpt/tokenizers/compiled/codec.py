"""The arrays that encoding and decoding need, made once for a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npgpt.tokenizers.compiled import encoding
from npgpt.tokenizers.compiled.hashing import power_of_two, table_of_pairs
from npgpt.tokenizers.compiled.splitting import code_point_categories


class MergeEncoder:
    """Bytes to ids.

    Parameters
    ----------
    byte_ids : sequence of int
        The id of each of the 256 bytes.
    merges : sequence of (int, int)
        In the order of learning; the tokens have ids from 256 on.
    """

    def __init__(self, byte_ids: Sequence[int], merges: Sequence[tuple[int, int]]):
        pairs = np.array(merges, np.int64).reshape(-1, 2)
        keys = (pairs[:, 0] << 32) | pairs[:, 1]
        table = table_of_pairs(keys, 4 * power_of_two(len(keys) + 1))
        self._cache = encoding.new_cache()
        self._arrays = np.array(byte_ids, np.int32), table, keys

    def __call__(self, content: bytes) -> np.ndarray:
        """Return the ids, int32."""
        array = np.frombuffer(content, np.uint8)
        ids = np.empty(array.size, np.int32)
        count = encoding.encode(array, code_point_categories(), *self._arrays, *self._cache, ids)
        return ids[:count]


class PieceDecoder:
    """Ids to bytes.

    Parameters
    ----------
    pieces : sequence of bytes
        What each id stands for.
    """

    def __init__(self, pieces: Sequence[bytes]):
        self.lengths = np.array([len(piece) for piece in pieces], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._pieces = np.frombuffer(b"".join(pieces), np.uint8)

    def __call__(self, ids: np.ndarray) -> bytes:
        """Return the bytes of ids, which must be in the vocabulary."""
        content = np.empty(int(self.lengths[ids].sum()), np.uint8)
        encoding.decode(ids, self._starts, self._pieces, content)
        return content.tobytes()

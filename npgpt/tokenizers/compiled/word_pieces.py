"""WordPiece; `npgpt.tokenizers.reference.word_pieces` is the specification."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from npgpt.tokenizers.bert_characters import (
    CHINESE_POINTS,
    CLASSES,
    LOWER_POINTS,
    MARKS,
    ORDERED_POINTS,
    PUNCTUATION,
    Normalization,
    combining_class,
    decomposed,
    is_mark,
)
from npgpt.tokenizers.compiled.counting import fill_table, is_equal
from npgpt.tokenizers.compiled.encoding import LONGEST_KEPT, MOST_IDS_KEPT, is_kept, new_cache
from npgpt.tokenizers.compiled.hashing import (
    FNV_OFFSET,
    FNV_PRIME,
    UPPER_HALF,
    hash_bytes,
    power_of_two,
)
from npgpt.tokenizers.compiled.splitting import NUM_CODE_POINTS, code_point, kernel
from npgpt.tokenizers.reference import word_pieces as reference

COPIED, REMOVED, ALONE, SPELLED, ORDERED = range(5)  # what becomes of a code point
ALONE_BIT = 0x80  # in the table of ASCII, whose other bits are the character, 0 if it is removed
BLANK = 0x20
GROWTH = 3  # a text has at most so many times its bytes when it is spaced
# without the unified Chinese characters, which stay as they are, and planes of private use
ASSIGNED = (
    range(0x80, 0x3400), range(0x4DC0, 0x4E00), range(0xA000, 0x20000), range(0x2F800, 0x2FA20),
    range(0xE0000, 0xE01F0),
)  # fmt: skip
REPLACEMENT = 0xFFFD
HANGUL = range(0xAC00, 0xD7A4)  # syllables, which `unicodedata.decomposition` leaves out
PRIVATE = ((0xE000, 0xF8FF), (0xF0000, 0xFFFFD), (0x100000, 0x10FFFD))
PLAIN = {"Ll", "Lo", "Lm", "Nd", "No", "Nl", "So", "Sm", "Sc", "Sk", "Me", "Cn"}


class Speller:
    """Texts to words: normalized, with blanks between them.

    Parameters
    ----------
    how : Normalization
    """

    def __init__(self, how: Normalization):
        self._how = how
        self._ascii = ascii_table(how)

    def __call__(self, text: str) -> bytes:
        """Return the words in UTF-8, with one blank or more between two of them."""
        content = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        out = np.empty(GROWTH * content.size, np.uint8)
        if text.isascii():
            return out[: space_ascii(content, self._ascii, out)].tobytes()
        size = space(content, self._ascii, *tables(self._how), out)
        if size < 0:  # characters that may have to change places, which are rare
            return reference.spaced(text, self._how).encode("utf-8", "surrogatepass")
        return out[:size].tobytes()


@functools.cache
def ascii_table(how: Normalization) -> np.ndarray:
    """Say what becomes of each ASCII character, (128,)."""
    table = np.zeros(128, np.uint8)
    for point in range(128):
        words = reference.spaced(chr(point), how)
        letter = words.strip(" ") or words[:1]
        if letter:
            table[point] = ord(letter) | ALONE_BIT * (len(words) > 1)
    return table


@functools.cache
def tables(how: Normalization) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say what becomes of each code point.

    Returns
    -------
    kinds : ndarray of uint8, shape (0x110000,)
    starts : ndarray of int32, shape (0x110001,)
        Where the bytes of a spelled one begin and, one further, end.
    pieces : ndarray of uint8
    """
    kinds = np.zeros(NUM_CODE_POINTS, np.uint8)
    for first, last in PRIVATE:
        kinds[first : last + 1] = REMOVED
    lengths, pieces = np.zeros(NUM_CODE_POINTS + 1, np.int32), []
    for point in _changed():
        c = chr(point)
        words = reference.spaced(c, how)
        kinds[point] = COPIED if words == c else REMOVED if not words else SPELLED
        if words == f" {c} ":
            kinds[point] = ALONE
        if how.strips and any(combining_class(p) and not is_mark(p) for p in decomposed(c)):
            kinds[point] = ORDERED
        if kinds[point] == SPELLED:
            pieces.append(words.encode())
            lengths[point + 1] = len(pieces[-1])
    if how.handle_chinese_chars and not how.strips:
        for first, last in CHINESE_POINTS.ranges:
            kinds[first : last + 1] = ALONE
    elif how.handle_chinese_chars:
        for first, last in CHINESE_POINTS.ranges:
            block = kinds[first : last + 1]  # compatibility characters are spelled
            block[block == COPIED] = ALONE
    starts = np.cumsum(lengths, dtype=np.int32)
    return kinds, starts, np.frombuffer(b"".join(pieces), np.uint8)


def _changed() -> Iterator[int]:
    """Yield the code points, beyond ASCII, that may not stay as they are."""
    category, decomposition = unicodedata.category, unicodedata.decomposition
    listed = {REPLACEMENT, *PUNCTUATION, *MARKS, *LOWER_POINTS, *CLASSES, *HANGUL}
    for first, last in ORDERED_POINTS.ranges:
        listed.update(range(first, last + 1))
    for points in ASSIGNED:
        for point in points:
            c = chr(point)
            if category(c) not in PLAIN or decomposition(c) or c.lower() != c or point in listed:
                yield point


@kernel
def space_ascii(content, table, out):
    """Write the words of ASCII into ``out``; return how many bytes they have."""
    size = 0
    for byte in content:
        size = put(table[byte], out, size)
    return size


@kernel
def put(code, out, size):
    """Write what a code of the table of ASCII says; return the new size."""
    if code < ALONE_BIT:
        out[size] = code
        return size + (code != 0)
    out[size], out[size + 1], out[size + 2] = BLANK, code - ALONE_BIT, BLANK
    return size + 3


@kernel
def space(content, table, kinds, starts, pieces, out):
    """Do what `space_ascii` does for any text; return -1 if characters may change places."""
    size, i = 0, 0
    while i < content.size:
        if content[i] < 0x80:
            size = put(table[content[i]], out, size)
            i += 1
            continue
        point, length = code_point(content, i)
        kind = kinds[point] if point >= 0 else np.uint8(REMOVED)
        if kind == ORDERED:
            return -1
        if kind == SPELLED:
            for k in range(starts[point], starts[point + 1]):
                out[size] = pieces[k]
                size += 1
        elif kind != REMOVED:
            if kind == ALONE:
                out[size] = BLANK
                size += 1
            for k in range(i, i + length):
                out[size] = content[k]
                size += 1
            if kind == ALONE:
                out[size] = BLANK
                size += 1
        i += length
    return size


class PieceEncoder:
    """Words to ids, by the longest match.

    Parameters
    ----------
    names : sequence of str
        Tokens; those that go on within a word begin with the prefix.
    ids : sequence of int
        Their ids.
    unknown_id : int
    prefix : str
    longest : int
        Characters of the longest word that is not unknown.
    """

    def __init__(
        self, names: Sequence[str], ids: Sequence[int], unknown_id: int, prefix: str, longest: int
    ):
        tokens = [name.encode("utf-8", "surrogatepass") for name in names]
        starts = np.concatenate([[0], np.cumsum([*map(len, tokens)])]).astype(np.int64)
        kept = np.frombuffer(b"".join(tokens), np.uint8)
        table = np.full(4 * power_of_two(len(tokens) + 1), -1, np.int64)
        fill_table(table, starts, kept, len(tokens))
        most = max(map(len, tokens), default=0)
        sizes = np.array([longest, most, unknown_id], np.int64)
        mark = np.frombuffer(prefix.encode(), np.uint8)
        self._arrays = sizes, mark, table, starts, kept, np.array(ids, np.int32)
        self._cache = new_cache()

    def __call__(self, words: bytes) -> np.ndarray:
        """Return the ids, int32."""
        array = np.frombuffer(words, np.uint8)
        ids = np.empty(array.size, np.int32)
        return ids[: encode_words(array, *self._arrays, *self._cache, ids)]


@kernel
def encode_words(
    content, limits, mark, table, starts, kept, token_ids, sizes, words, word_ids, ids
):
    """Write the ids of words with blanks between them into ``ids``; return how many there are.

    Parameters
    ----------
    content : ndarray of uint8
    limits : ndarray of int64
        Characters of the longest word, bytes of the longest token, the id of what is unknown.
    mark : ndarray of uint8
        The prefix of tokens within a word.
    table, starts, kept, token_ids : ndarray
        The tokens' hash table, names and ids.
    sizes, words, word_ids : ndarray
        From `new_cache`.
    ids : ndarray of int32, shape (at least the number of bytes,)
    """
    mask = np.uint64(len(sizes) - 1)
    buffer = np.empty(mark.size + 4 * max(limits[0], 1), np.uint8)
    count, end = 0, 0
    while end < content.size:
        start = end
        while start < content.size and content[start] == BLANK:
            start += 1
        end = start
        while end < content.size and content[end] != BLANK:
            end += 1
        length = end - start
        if length == 0:
            break
        if length > LONGEST_KEPT:
            part = ids[count : count + length]
            count += match(
                content[start:end], limits, mark, table, starts, kept, token_ids, buffer, part
            )
            continue
        slot = np.int64(hash_bytes(content, start, end) & mask)
        if is_kept(content, start, length, slot, sizes, words):
            for k in range(sizes[slot, 1]):
                ids[count + k] = word_ids[slot, k]
            count += sizes[slot, 1]
            continue
        part = ids[count : count + length]
        new = match(content[start:end], limits, mark, table, starts, kept, token_ids, buffer, part)
        if new <= MOST_IDS_KEPT:
            sizes[slot, 0], sizes[slot, 1] = length, new
            words[slot, :length] = content[start:end]
            word_ids[slot, :new] = part[:new]
        count += new
    return count


@kernel
def match(word, limits, mark, table, starts, kept, token_ids, buffer, ids):
    """Write the ids of one word; return how many there are.

    The prefix of what goes on within the word is written over the bytes that are read already.
    """
    characters = 0
    for byte in word:
        characters += (byte & 0xC0) != 0x80
    if characters > limits[0]:
        ids[0] = limits[2]
        return 1
    begin, end = mark.size, mark.size + word.size
    buffer[begin:end] = word
    count, inside = 0, 0  # bytes of the prefix
    mask = np.int64(table.size - 1)
    while begin < end:
        first, found, after = begin - inside, np.int64(-1), begin
        buffer[first:begin] = mark[:inside]
        value = FNV_OFFSET  # of `hash_bytes`, for every end
        for i in range(first, min(end, first + limits[1])):
            value = (value ^ np.uint64(buffer[i])) * FNV_PRIME
            if i < begin or (i + 1 < end and (buffer[i + 1] & 0xC0) == 0x80):
                continue
            slot = np.int64(value ^ (value >> UPPER_HALF)) & mask
            while table[slot] >= 0 and not is_equal(
                buffer, first, i + 1, kept, starts, table[slot]
            ):
                slot = (slot + 1) & mask
            if table[slot] >= 0:
                found, after = table[slot], i + 1
        if found < 0:
            ids[0] = limits[2]
            return 1
        ids[count] = token_ids[found]
        count += 1
        begin, inside = after, mark.size
    return count

"""GPT-2's pre-tokens, found in the bytes of UTF-8 without a regular expression."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import regex
from numba import njit

from npgpt.ops.caching import keep

OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
SPACE_BYTE, APOSTROPHE = 0x20, 0x27
NUM_CODE_POINTS = 0x110000

# a small function that is written into the loop that calls it
inline_kernel = njit(inline="always")


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function; a decorator."""
    return keep(njit(function))


@functools.cache
def code_point_categories() -> np.ndarray:
    r"""Say of each code point whether it is ``\p{L}``, ``\p{N}``, ``\s`` or none of them.

    Made once, from the module `regex`, whose Unicode version is thus that of the specification.

    Returns
    -------
    ndarray of uint8, shape (0x110000,)
    """
    categories = np.full(NUM_CODE_POINTS, OTHER, np.uint8)
    points = np.arange(NUM_CODE_POINTS, dtype="<u4")
    everything = points.tobytes().decode("utf-32-le", "surrogatepass")
    for category, pattern in ((LETTER, r"\p{L}+"), (NUMBER, r"\p{N}+"), (SPACE, r"\s+")):
        for match in regex.finditer(pattern, everything):
            categories[match.start() : match.end()] = category
    return categories


@kernel
def code_point(content, i):
    """Read the character at byte ``i``: its code point and length, or (-1, 1) if it is broken."""
    first = content[i]
    if first < 0x80:
        return np.int32(first), 1
    if 0xC2 <= first < 0xE0:
        length, value, lowest = 2, first & 0x1F, 0x80
    elif 0xE0 <= first < 0xF0:
        length, value, lowest = 3, first & 0x0F, 0x800
    elif 0xF0 <= first < 0xF5:
        length, value, lowest = 4, first & 0x07, 0x10000
    else:
        return np.int32(-1), 1
    if i + length > content.size:
        return np.int32(-1), 1
    point = np.int32(value)
    for k in range(1, length):
        following = content[i + k]
        if following & 0xC0 != 0x80:
            return np.int32(-1), 1
        point = np.int32((point << 6) | (following & 0x3F))
    if point < lowest or point >= NUM_CODE_POINTS or 0xD800 <= point < 0xE000:
        return np.int32(-1), 1  # written too long, beyond Unicode, or half of a surrogate pair
    return point, length


@kernel
def category_at(content, i, categories):
    """Return the category and the length of the character at byte ``i``."""
    if content[i] < 0x80:
        return categories[content[i]], 1
    point, length = code_point(content, i)
    return categories[point] if point >= 0 else np.uint8(OTHER), length


@inline_kernel
def end_of_run(content, i, wanted, categories):
    """Return where the characters of one category that go on at byte ``i`` end."""
    while i < content.size:
        if (
            content[i] < 0x80
        ):  # here and not in a function, because most characters are of this kind
            category, length = categories[content[i]], 1
        else:
            category, length = category_at(content, i, categories)
        if category != wanted:
            break
        i += length
    return i


@kernel
def length_of_contraction(content, i):
    """Return 2 or 3 if the apostrophe at byte ``i`` begins 's, 't, 're, 've, 'm, 'll or 'd."""
    if i + 1 >= content.size:
        return 0
    one = content[i + 1]
    if one == ord("s") or one == ord("t") or one == ord("m") or one == ord("d"):
        return 2
    if i + 2 >= content.size:
        return 0
    two = content[i + 2]
    if two == ord("e") and (one == ord("r") or one == ord("v")):
        return 3
    if one == ord("l") and two == ord("l"):
        return 3
    return 0


@kernel
def end_of_pre_token(content, start, categories):
    """Return where the pre-token that begins at byte ``start`` ends.

    In the order of the regular expression's alternatives.
    """
    if content[start] == APOSTROPHE:
        contraction = length_of_contraction(content, start)
        if contraction:
            return start + contraction
    category, length = category_at(content, start, categories)
    second = start + length
    if category != SPACE:
        return end_of_run(content, second, category, categories)
    if second == content.size:
        return second
    following, following_length = category_at(content, second, categories)
    if content[start] == SPACE_BYTE and following != SPACE:
        return end_of_run(content, second + following_length, following, categories)
    # white space, without its last character if something else comes after it
    end, last = second, start
    while end < content.size:
        category, length = category_at(content, end, categories)
        if category != SPACE:
            return last if last > start else end
        last = end
        end += length
    return end


@kernel
def ends_of_pre_tokens(content, categories):
    """Return where each pre-token ends."""
    ends = np.empty(content.size, np.int64)
    count, end = 0, 0
    while end < content.size:
        end = end_of_pre_token(content, end, categories)
        ends[count] = end
        count += 1
    return ends[:count].copy()

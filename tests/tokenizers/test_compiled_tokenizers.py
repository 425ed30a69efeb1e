"""Compiled splitting, merging and counting are proved equal to the reference."""

from itertools import pairwise

import numpy as np
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from npgpt.tokenizers import BPETokenizer, reference
from npgpt.tokenizers.compiled import encoding
from npgpt.tokenizers.compiled.codec import MergeEncoder, PieceDecoder
from npgpt.tokenizers.compiled.counting import PreTokenCounts
from npgpt.tokenizers.compiled.splitting import code_point_categories, ends_of_pre_tokens
from npgpt.tokenizers.compiled.training import learn_merges
from tests.tokenizers.strategies import BYTES, TEXTS, WITH_SURROGATES

BYTE_IDS = list(range(256))
LETTERS = st.text("aab c\n", max_size=60)


def split(content):
    ends = ends_of_pre_tokens(np.frombuffer(content, np.uint8), code_point_categories()).tolist()
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@settings(max_examples=300)
@given(BYTES | TEXTS.map(str.encode))
@example(b"\xc3 \xe2\x82 \xf0\x9f\x98 \xed\xa0\x80 \xc0\xaf \xf4\x90\x80\x80 \xff's")
def test_pre_tokens_of_any_bytes_are_those_of_the_pattern(content):
    assert split(content) == reference.pre_tokens_of_bytes(content)


@given(WITH_SURROGATES)
def test_a_lone_surrogate_is_a_character_that_is_neither_letter_nor_digit(text):
    expected = [part.encode("utf-8", "surrogatepass") for part in reference.pre_tokens(text)]
    assert split(text.encode("utf-8", "surrogatepass")) == expected


def test_every_code_point_has_the_category_that_the_pattern_gives_it():
    categories = code_point_categories()
    for category, pattern in enumerate((r"[^\s\p{L}\p{N}]", r"\p{L}", r"\p{N}", r"\s")):
        text = "".join(map(chr, np.flatnonzero(categories == category).tolist()))
        assert regex.fullmatch(f"{pattern}*", text)


@settings(max_examples=100)
@given(LETTERS, st.text("ab c", max_size=300), st.sampled_from([1, 4, 1 << 10]))
def test_ids_are_those_of_merging_one_after_the_other(corpus, text, slots):
    merges = reference.learn_merges({tuple(w.encode()): 2 for w in corpus.split(" ")}, 20, 256)
    encoder = MergeEncoder(BYTE_IDS, merges)
    encoder._cache = encoding.new_cache(slots)  # so small that pre-tokens push each other out
    ranks = {pair: 256 + i for i, pair in enumerate(merges)}
    for _ in range(2):
        ids = encoder(text.encode())
        assert ids.tolist() == reference.encode(text.encode(), BYTE_IDS, ranks)


@settings(max_examples=100)
@given(st.text("ab", min_size=97, max_size=400), LETTERS)
@example("a" * 1000, "aaaa")
def test_a_long_pre_token_is_merged_as_a_short_one(text, corpus):
    merges = reference.learn_merges({tuple(w.encode()): 2 for w in [corpus, "aabb"]}, 20, 256)
    ranks = {pair: 256 + i for i, pair in enumerate(merges)}
    ids = MergeEncoder(BYTE_IDS, merges)(text.encode())
    assert ids.tolist() == reference.apply_merges(text.encode(), ranks)


def test_a_pre_token_of_a_million_characters_is_no_problem():
    tokenizer = BPETokenizer.train("ab" * 4000, vocab_size=264)
    text = "ab" * 500_000
    ids = tokenizer.encode(text)
    assert len(ids) < 10_000
    assert tokenizer.decode(ids) == text


@given(st.lists(BYTES, max_size=5))
def test_counts_are_those_of_a_dictionary(contents):
    counts, expected = PreTokenCounts(), {}
    for content in contents:
        counts.update(content)
        for part in reference.pre_tokens_of_bytes(content):
            expected[part] = expected.get(part, 0) + 1
    assert counts.to_dict() == expected


def test_counting_makes_room_for_more_pre_tokens_and_longer_ones():
    words = [b" %x" % i for i in range(9000)] + [b"x" * 100_000, b"yz" * 40_000]
    counts = PreTokenCounts()
    counts.update(b"".join(words))
    counts.update(b"".join(words[:10]))
    expected = {}
    for part in reference.pre_tokens_of_bytes(b"".join(words)):
        expected[part] = expected.get(part, 0) + 1
    for part in reference.pre_tokens_of_bytes(b"".join(words[:10])):
        expected[part] += 1
    assert counts.to_dict() == expected


def merges_by_both(words, num_merges):
    ids = np.array([i for word in words for i in word], np.int64)
    starts = np.cumsum([0, *map(len, words)])
    counts = np.array([*words.values()], np.int64)
    compiled, record = learn_merges(ids, starts, counts, num_merges, 256)
    return compiled, record, reference.learn_merges(words, num_merges, 256)


@settings(max_examples=200)
@given(st.dictionaries(LETTERS.filter(bool), st.integers(1, 4), min_size=1, max_size=6))
@example({"aaaaaaa": 1, "aaaa": 1, "aaa": 2})
def test_merges_are_those_of_the_reference(words):
    words = {tuple(word.encode()): count for word, count in words.items()}
    compiled, record, expected = merges_by_both(words, 30)
    assert [*map(tuple, compiled.tolist())] == expected
    left = {word: list(word) for word in words}
    for i, pair in enumerate(expected):
        counts = [[*pairwise(ids)].count(pair) for ids in left.values()]
        assert record[i, 0] == sum(np.multiply(counts, [*words.values()]))
        left = {w: reference.merge_pair(ids, pair, 256 + i) for w, ids in left.items()}
        assert record[i, 1] == sum(words[w] * len(ids) for w, ids in left.items())


def test_merges_of_real_text_are_those_of_the_reference():
    from pydoc_data.topics import topics

    counts = PreTokenCounts()
    for text in topics.values():
        counts.update(text.encode())
    words = {tuple(word): count for word, count in counts.to_dict().items()}
    compiled, _, expected = merges_by_both(words, 1500)  # enough for the tables to grow
    assert [*map(tuple, compiled.tolist())] == expected


@given(st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=9), st.data())
def test_decoding_joins_the_pieces(pieces, data):
    ids = data.draw(st.lists(st.integers(0, len(pieces) - 1)))
    decoder = PieceDecoder(pieces)
    assert decoder(np.array(ids, np.int64)) == b"".join(pieces[i] for i in ids)
    assert decoder.lengths.tolist() == [*map(len, pieces)]


def test_documents_are_taken_from_a_stream_that_is_not_kept():
    def documents():
        for _ in range(50):
            yield "the sea shells, she sells "

    assert (
        BPETokenizer.train(documents(), 280).merges
        == BPETokenizer.train([*documents()], 280).merges
    )


@pytest.mark.parametrize("name", ["merge_short", "merge_long"])
def test_both_ways_of_merging_know_that_there_may_be_no_merges(name):
    assert MergeEncoder(BYTE_IDS, [])(b"x" * (3 if name == "merge_short" else 200)).tolist() == [
        120
    ] * (3 if name == "merge_short" else 200)

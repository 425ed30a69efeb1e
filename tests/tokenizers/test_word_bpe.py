"""The teaching form of byte-pair encoding, and the compression it comes from."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import tokenizers
from npgpt.tokenizers import BPETokenizer, WordBPETokenizer, compress, decompress

# Sennrich, Haddow and Birch 2016, figure 1
TEXT = "low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3


def by_hand(text, num_merges):
    """Count all pairs of all words, merge the best everywhere, begin again."""
    ids = {"</w>": 0} | {c: i for i, c in enumerate(sorted(set("".join(text.split()))), 1)}
    words = [[*word, "</w>"] for word in text.split()]
    steps = []
    while len(steps) < num_merges:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], [ids[name] for name in pair]))
        if counts[best] < 2:
            break
        ids[best[0] + best[1]] = len(ids)
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [best[0] + best[1]]
                i += 1
        steps.append((*best, counts[best], best[0] + best[1], sum(map(len, words))))
    return steps, words


def test_the_merges_of_the_paper_and_the_table_of_each_step():
    tokenizer = WordBPETokenizer.train(TEXT, num_merges=10, record=True)
    steps, words = by_hand(TEXT, 10)
    assert [(s.left, s.right, s.count, s.token, s.tokens_left) for s in tokenizer.steps] == steps
    assert ("es", "t</w>", 9) in [step[:3] for step in steps]
    assert tokenizer.tokenize(TEXT) == [name for word in words for name in word]
    assert WordBPETokenizer.train(TEXT, num_merges=10).steps is None


@settings(max_examples=100)
@given(st.text("aab é\n", max_size=60).filter(str.strip), st.integers(0, 20))
def test_merges_and_tokens_are_those_of_counting_everything_anew(text, num_merges):
    tokenizer = WordBPETokenizer.train(text, num_merges=num_merges, record=True)
    steps, words = by_hand(text, num_merges)
    assert [(s.left, s.right, s.count, s.token, s.tokens_left) for s in tokenizer.steps] == steps
    assert tokenizer.tokenize(text) == [name for word in words for name in word]


@given(st.text(min_size=1).filter(str.strip))
def test_words_come_back_with_one_space_between_them(text):
    tokenizer = WordBPETokenizer.train(text, num_merges=5)
    assert tokenizer.decode(tokenizer.encode(text)) == " ".join(text.split())


def test_training_ends_with_the_vocabulary_the_merges_or_the_last_pair():
    base = WordBPETokenizer.train(TEXT, num_merges=0).vocab_size
    assert base == len(set(TEXT) - {" "}) + 3
    assert WordBPETokenizer.train(TEXT, vocab_size=base + 4).vocab_size == base + 4
    assert len(WordBPETokenizer.train(TEXT, vocab_size=base + 4, num_merges=2).merges) == 2
    everything = WordBPETokenizer.train(TEXT)
    assert {"low</w>", "lower</w>", "newest</w>", "widest</w>"} <= set(everything.tokens)
    with pytest.raises(ValueError, match=f"vocab_size must be at least {base} .* got {base - 1}"):
        WordBPETokenizer.train(TEXT, vocab_size=base - 1)
    with pytest.raises(ValueError, match="text to train on is empty"):
        WordBPETokenizer.train(" \n")


def test_a_character_that_was_not_there_is_unknown():
    tokenizer = WordBPETokenizer.train(TEXT, num_merges=4)
    assert tokenizer.tokenize("low§") == ["lo", "w", "<|unk|>", "</w>"]
    assert tokenizer.encode("§").tolist()[0] == tokenizer.unknown_id
    with pytest.raises(ValueError, match="id 99 at position 0 is outside"):
        tokenizer.decode([99])


def test_a_file_brings_it_back(tmp_path):
    tokenizer = WordBPETokenizer.train(TEXT, num_merges=9)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = tokenizers.load(tmp_path / "tokenizer.json")
    assert type(loaded) is WordBPETokenizer
    assert loaded.tokens == tokenizer.tokens
    assert loaded.fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize(("characters", "merges"), [([" "], []), (["ab"], []), ("a", [(0, 2)])])
def test_what_is_no_vocabulary_is_refused(characters, merges):
    with pytest.raises(ValueError, match="WordBPETokenizer"):
        WordBPETokenizer(characters, merges)


def test_the_byte_level_form_has_the_table_too():
    tokenizer = BPETokenizer.train("low low lower", 260, record=True)
    assert [(s.left, s.right, s.count, s.token, s.tokens_left) for s in tokenizer.steps] == [
        (b"l", b"o", 3, b"lo", 10), (b"lo", b"w", 3, b"low", 7), (b" ", b"low", 2, b" low", 5),
    ]  # fmt: skip


# --- compression -----------------------------------------------------------------------------


@given(st.binary() | st.text("ab").map(str.encode))
def test_what_was_compressed_comes_back(content):
    compressed, table = compress(content)
    assert decompress(compressed, table) == content
    assert len(compressed) <= len(content)


@given(st.text("aab", max_size=80).map(str.encode))
def test_nothing_that_repeats_is_left(content):
    compressed, _ = compress(content)
    assert all(compressed.count(bytes(pair)) < 2 for pair in pairwise(compressed))


def test_without_a_free_byte_nothing_is_replaced():
    content = bytes(range(256)) * 2
    assert compress(content) == (content, {})
    assert compress(b"") == (b"", {})

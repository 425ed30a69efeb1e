"""Training: the incremental trainer against one that counts everything anew."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from npgpt.tokenizers import BPETokenizer
from npgpt.tokenizers.bpe import PRE_TOKEN

# few letters, so that counts tie and pairs overlap ("aaa")
CORPORA = st.lists(st.text("aab c\n", max_size=60), min_size=1, max_size=3).filter(any)


def naive_merges(documents, num_merges):
    """Count all pairs of neighbours, merge the best everywhere, begin again."""
    byte_ids = {byte: i for i, byte in enumerate([*range(33, 127), *range(161, 173)])}
    byte_ids |= {byte: i + 106 for i, byte in enumerate(range(174, 256))}
    byte_ids |= {byte: i + 188 for i, byte in enumerate(b for b in range(256) if b not in byte_ids)}
    words = [
        [byte_ids[byte] for byte in pre_token.encode()]
        for document in documents
        for pre_token in PRE_TOKEN.findall(document)
    ]
    merges = []
    while len(merges) < num_merges:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[best] < 2:
            break
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [256 + len(merges)]
                i += 1
        merges.append(best)
    return merges


@settings(max_examples=200)
@given(CORPORA, st.integers(0, 30))
@example(["aaaaaaa aaaa aaa aaa"], 30)
@example(["abab abab baba", "abcabcabc"], 30)
@example(["naïve 日本日本 🙂🙂 naïve"], 30)
def test_merges_are_those_of_counting_everything_anew(documents, num_merges):
    tokenizer = BPETokenizer.train(documents, vocab_size=257 + num_merges)
    assert tokenizer.merges == naive_merges(documents, num_merges)


def test_merges_of_real_text_are_those_of_counting_everything_anew():
    from pydoc_data.topics import topics

    text = topics["class"][:6000]
    assert BPETokenizer.train(text, vocab_size=400).merges == naive_merges([text], 143)


@given(CORPORA)
def test_every_merge_makes_a_new_token(documents):
    tokenizer = BPETokenizer.train(documents, vocab_size=300)
    tokens = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
    assert len(set(tokens)) == len(tokens)


def test_of_equally_frequent_pairs_the_lowest_ids_are_merged_first():
    # "xy", "ab" and "ba" occur twice each; a is 64, b is 65
    assert BPETokenizer.train("xy ab ba xy ab ba", vocab_size=258).merges == [(64, 65)]


def test_training_stops_when_no_pair_occurs_more_than_once():
    tokenizer = BPETokenizer.train("ab ab cd", vocab_size=1000)
    assert [tokenizer.token_bytes(256 + i) for i in range(len(tokenizer.merges))] == [b"ab"]
    assert tokenizer.vocab_size == 258


def test_a_merge_never_crosses_from_one_document_to_the_next():
    assert BPETokenizer.train(["a", "b"] * 9, vocab_size=300).merges == []
    assert BPETokenizer.train("ab" * 9, vocab_size=258).merges == [(64, 65)]


@given(CORPORA)
def test_progress_counts_up_and_changes_nothing(documents):
    calls = []
    tokenizer = BPETokenizer.train(documents, 280, progress=lambda *call: calls.append(call))
    assert tokenizer.merges == BPETokenizer.train(documents, 280).merges
    assert calls == [(i + 1, 23) for i in range(len(tokenizer.merges))]


def test_the_order_of_the_documents_changes_nothing():
    documents = ["the sea", "sea shells", "she sells", "the shore"]
    merges = BPETokenizer.train(documents, 280).merges
    assert BPETokenizer.train(documents[::-1], 280).merges == merges


@pytest.mark.parametrize("vocab_size", [-1, 0, 256])
def test_a_vocabulary_smaller_than_the_bytes_is_refused(vocab_size):
    with pytest.raises(ValueError, match=rf"at least 257 .* got {vocab_size}"):
        BPETokenizer.train("text", vocab_size)


def test_the_smallest_vocabulary_has_no_merges():
    tokenizer = BPETokenizer.train("aaaa", 257)
    assert (tokenizer.vocab_size, tokenizer.merges) == (257, [])


@pytest.mark.parametrize("text", ["", [], [""]])
def test_training_on_nothing_is_refused(text):
    with pytest.raises(ValueError, match="text to train on is empty"):
        BPETokenizer.train(text, 300)

"""WordTokenizer."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npgpt import tokenizers
from npgpt.tokenizers import WordTokenizer
from npgpt.tokenizers.word import split_words

TEXT = 'The "brown" fox -- she said, "It\'s quick!" (Or so.) the_end? No: yes; 日本.\n\tnext'
PROSE = st.text(st.sampled_from("ab é-,.:;?_!\"()' \n\t") | st.characters(), min_size=1)


def test_ids_are_places_in_the_alphabet_then_unknown_then_end_of_text():
    tokenizer = WordTokenizer.train("the sea , the shore . A sea")
    assert tokenizer.words == [",", ".", "A", "sea", "shore", "the"]
    assert (tokenizer.unknown_id, tokenizer.end_of_text_id, tokenizer.vocab_size) == (6, 7, 8)
    assert tokenizer.encode("the new sea").tolist() == [5, 6, 3]
    assert tokenizer.decode([6, 7]) == "<|unk|> <|endoftext|>"
    assert tokenizer.encode("x").dtype == np.int64


def test_words_are_cut_as_the_course_cuts_them():
    text = "Hello, world. Is this-- a test?"
    expected = ["Hello", ",", "world", ".", "Is", "this", "--", "a", "test", "?"]
    assert [*split_words(text)] == expected
    kept = [*split_words("if x:\n  y", keep_whitespace=True)]
    assert kept == ["if", " ", "x", ":", "\n", " ", " ", "y"]


def test_spaces_come_back_where_a_reader_expects_them():
    tokenizer = WordTokenizer.train(TEXT)
    text = 'The "brown" fox -- she said, "It\'s quick!" (Or so.) the_end? No: yes; 日本. next'
    assert tokenizer.decode(tokenizer.encode(TEXT)) == text


@given(PROSE.filter(str.strip))
def test_with_white_space_kept_the_text_comes_back_to_the_letter(text):
    tokenizer = WordTokenizer.train(text, keep_whitespace=True)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(PROSE.filter(str.strip))
@example("- -")
@example("a' 'b \" \"")
def test_a_decoded_text_has_the_same_tokens(text):
    tokenizer = WordTokenizer.train(text)
    ids = tokenizer.encode(text).tolist()
    assert tokenizer.encode(tokenizer.decode(ids)).tolist() == ids


def test_a_vocabulary_size_keeps_the_most_frequent_words():
    tokenizer = WordTokenizer.train("b b b c c a a d", vocab_size=4)
    assert tokenizer.words == ["a", "b"]
    with pytest.raises(ValueError, match="vocab_size must be at least 3"):
        WordTokenizer.train("a", vocab_size=2)


def test_several_texts_may_come_from_a_stream():
    assert WordTokenizer.train(iter(["a b", "", "c"])).words == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["", [], " \n", ["", "\t"]])
def test_training_on_nothing_is_refused(text):
    with pytest.raises(ValueError, match="text to train on is empty"):
        WordTokenizer.train(text)


@pytest.mark.parametrize("words", [[], ["a b"], ["a,"], [" "], [""]])
def test_a_vocabulary_of_anything_but_words_is_refused(words):
    with pytest.raises(ValueError, match=r"at least one word|is not one word"):
        WordTokenizer(words)


def test_an_id_outside_the_vocabulary_is_named_with_its_place():
    with pytest.raises(ValueError, match="id 9 at position 1 is outside the vocabulary of 3"):
        WordTokenizer("a").decode([0, 9])


@pytest.mark.parametrize("keep", [True, False])
def test_a_file_brings_it_back(tmp_path, keep):
    tokenizer = WordTokenizer.train(TEXT, keep_whitespace=keep)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = tokenizers.load(tmp_path / "tokenizer.json")
    assert type(loaded) is WordTokenizer
    assert (loaded.words, loaded.keep_whitespace) == (tokenizer.words, keep)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert WordTokenizer("ab").fingerprint != WordTokenizer("ac").fingerprint


def test_bytes_per_token_are_those_of_the_words():
    tokenizer = WordTokenizer.train("é ab")
    assert tokenizer.bytes_per_token().tolist() == [2, 2, 0, 0]

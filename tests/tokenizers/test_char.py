"""CharTokenizer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.tokenizers import CharTokenizer

ANY_STRING = st.text(st.characters())  # lone surrogates too


@given(ANY_STRING.filter(bool), st.booleans())
def test_decode_of_encode_is_the_text_for_every_string(text, end_of_text):
    tokenizer = CharTokenizer.train(text, end_of_text)
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64
    assert ids.shape == (len(text),)
    assert tokenizer.decode(ids) == text


def test_decode_of_encode_is_the_text_for_every_code_point_at_once():
    text = "".join(map(chr, range(0x110000)))
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    np.testing.assert_array_equal(ids, np.arange(0x110000))
    assert tokenizer.decode(ids) == text


@given(ANY_STRING.filter(bool))
def test_ids_are_the_places_in_the_sorted_characters(text):
    characters = sorted(set(text))
    tokenizer = CharTokenizer(text)
    assert tokenizer.encode(text).tolist() == [characters.index(c) for c in text]


def test_end_of_text_has_the_last_id_and_is_written_out():
    tokenizer = CharTokenizer("cab")
    assert tokenizer.vocab_size == 4
    assert tokenizer.end_of_text_id == 3
    assert tokenizer.decode([0, 3, 1]) == "a<|endoftext|>b"


def test_without_end_of_text_the_vocabulary_is_the_characters():
    tokenizer = CharTokenizer.train("hello", end_of_text=False)
    assert tokenizer.vocab_size == 4
    assert tokenizer.end_of_text_id is None
    with pytest.raises(ValueError, match=r"id 4 at position 0 is outside the vocabulary of 4"):
        tokenizer.decode([4])


def test_end_of_text_in_a_text_is_thirteen_characters():
    text = "a<|endoftext|>b"
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.end_of_text_id not in ids


def test_training_on_several_texts_takes_the_characters_of_all():
    assert CharTokenizer.train(["ab", "", "bc"]).characters == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "place"), [("b", 0), ("az", 1), ("a\ud800", 1), ("aa\U0010ffff", 2)]
)
def test_an_unknown_character_is_named_with_its_place(text, place):
    with pytest.raises(ValueError, match="not in the vocabulary") as error:
        CharTokenizer("ac").encode(text)
    assert f"{text[place]!r} at position {place} " in str(error.value)
    assert "train on a text that has it" in str(error.value)


def test_the_empty_text_is_no_ids():
    tokenizer = CharTokenizer("a")
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("bad", [-1, 3, 2**40])
def test_an_id_outside_the_vocabulary_is_named_with_its_place(bad):
    with pytest.raises(ValueError, match=rf"id {bad} at position 2 is outside the vocabulary of 3"):
        CharTokenizer("ab").decode([0, 1, bad, bad])


@pytest.mark.parametrize("ids", [[0.5], ["a"], [[0, 1]], np.zeros((1, 1), int), [True]])
def test_ids_that_are_no_sequence_of_integers_are_refused(ids):
    with pytest.raises(ValueError, match="must be a sequence of integers"):
        CharTokenizer("ab").decode(ids)


@pytest.mark.parametrize("characters", [[], [""], ["ab"], ["a", 1]])
def test_a_vocabulary_of_anything_but_characters_is_refused(characters):
    with pytest.raises(ValueError, match=r"single character|at least one character"):
        CharTokenizer(characters)


@pytest.mark.parametrize("text", ["", [], ["", ""]])
def test_training_on_nothing_is_refused(text):
    with pytest.raises(ValueError, match="text to train on is empty"):
        CharTokenizer.train(text)


def test_bytes_per_token_adds_up_to_the_bytes_of_the_text():
    text = "aé日🙂a"
    tokenizer = CharTokenizer.train(text)
    assert tokenizer.bytes_per_token()[tokenizer.encode(text)].sum() == len(text.encode())
    assert tokenizer.bytes_per_token()[tokenizer.end_of_text_id] == 0


@given(ANY_STRING.filter(bool), ANY_STRING)
def test_unknown_characters_become_a_token_if_that_is_wanted(text, other):
    tokenizer = CharTokenizer.train(text, unknown="<|unk|>")
    known = set(text)
    assert tokenizer.vocab_size == len(known) + 2
    expected = [c if c in known else "<|unk|>" for c in other]
    assert tokenizer.decode(tokenizer.encode(other)) == "".join(expected)
    assert tokenizer.unknown_id == tokenizer.end_of_text_id - 1


def test_the_choice_of_the_unknown_survives_a_file(tmp_path):
    for unknown in ("error", "<|unk|>"):
        tokenizer = CharTokenizer("ab", unknown=unknown)
        tokenizer.save(tmp_path / "tokenizer.json")
        assert CharTokenizer.load(tmp_path / "tokenizer.json").unknown == unknown
    with pytest.raises(ValueError, match="unknown must be error or"):
        CharTokenizer("ab", unknown="skip")

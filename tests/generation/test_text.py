"""Pieces of text from tokens, stop strings, penalties, beams."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import GPT, GPTConfig
from npgpt.generation import beam_search, penalize_repetition, stream_text
from npgpt.generation.decoders import EveryTime
from npgpt.tokenizers import BPETokenizer
from tests.strategies import seeds


def decode(ids):
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=4), max_size=3))
def test_pieces_join_to_the_text_before_the_first_stop_string(text, stop):
    tokens = text.encode()
    pieces = list(stream_text(tokens, decode, stop))
    assert all(pieces)
    ends = [text.find(string) for string in stop if string in text]
    # the first that is whole; of those that end at the same token the one that begins first
    found = min(
        ((text.find(s) + len(s), text.find(s)) for s in stop if s in text), default=(None, None)
    )
    joined = "".join(pieces)
    assert text.startswith(joined)
    assert joined == (text if not ends else text[: found[1]])


@given(
    st.text("ab\té🙂", max_size=20),
    st.text(" b\té🙂", max_size=20),
    st.lists(st.text("abé", min_size=1, max_size=3), max_size=2),
)
def test_what_has_been_yielded_is_not_decoded_again(before, after, stop):
    tokenizer, sizes = BPETokenizer([]), []
    (prompt_ids, ids), whole = map(tokenizer.encode, (before, after)), tokenizer.decode

    class Counted:
        joins = True

        def decode(self, ids):
            sizes.append(len(ids))
            return whole(ids)

    given_ = ids, prompt_ids, before
    pieces, at_once = (
        list(stream_text(given_[0], decode, stop, None, *given_[1:]))
        for decode in (Counted().decode, lambda ids: whole(ids))
    )
    assert pieces == at_once
    assert max(sizes[1:], default=0) <= 4 * (1 + max(map(len, stop), default=0))


def test_no_token_is_asked_for_after_a_stop_string():
    tokens = iter(b"one\ntwo")
    assert "".join(stream_text(tokens, decode, ["\n"])) == "one"
    assert bytes(tokens) == b"two"


def test_half_a_character_is_held_back():
    assert list(stream_text("aé!".encode(), decode)) == ["a", "é", "!"]
    assert list(stream_text(b"a\xc3", decode)) == ["a", "�"]


def test_a_beginning_of_a_stop_string_is_held_back_until_it_is_not():
    assert list(stream_text(b"a<b<|end|>c", decode, ["<|end|>"])) == ["a", "<b"]


def test_the_stop_token_ends_the_text():
    assert list(stream_text([97, 0, 98], decode, stop_id=0)) == ["a"]


def test_a_repetition_penalty_shrinks_what_was_seen():
    logits = np.array([[2.0, -2.0, 1.0], [2.0, -2.0, 1.0]])
    penalized = penalize_repetition(logits, [{0, 1}, set()], 2.0)
    assert penalized.tolist() == [[1.0, -4.0, 1.0], [2.0, -2.0, 1.0]]
    model = GPT(GPTConfig(7, 40, n_layers=1, n_heads=1, d_model=4), seed=1).eval()
    plain = model.generate([1], 20, temperature=0.0)
    penal = model.generate([1], 20, temperature=0.0, repetition_penalty=50.0)
    assert len(set(penal[:7].tolist())) > len(set(plain[:7].tolist()))
    with pytest.raises(ValueError, match="repetition_penalty must be above 0"):
        model.generate([1], 1, repetition_penalty=0.0)


def log_probability(table, ids):
    return sum(table[a][b] for a, b in itertools.pairwise(ids))


@given(seeds, st.integers(1, 4))
def test_with_all_beams_the_likeliest_text_of_all_is_found(seed, length):
    logits = 3 * np.random.default_rng(seed).standard_normal((4, 4))
    table = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    found = beam_search(EveryTime(lambda ids: logits[ids[:, -1]]), np.array([0]), length, 4**length)
    best = max(
        itertools.product(range(4), repeat=length),
        key=lambda ids: log_probability(table, [0, *ids]),
    )
    assert log_probability(table, found) == pytest.approx(log_probability(table, [0, *best]))


def test_one_beam_is_greedy_and_the_cache_changes_nothing():
    model = GPT(GPTConfig(31, 40, n_layers=2, n_heads=2, d_model=16), dtype=np.float64, seed=2)
    for parameter in model.parameters():
        parameter.value *= 8
    greedy = model.generate([3, 4], 12, temperature=0.0)
    np.testing.assert_array_equal(model.beam_search([3, 4], 12, num_beams=1), greedy)
    np.testing.assert_array_equal(
        model.beam_search([3, 4], 12, num_beams=3),
        model.beam_search([3, 4], 12, num_beams=3, use_cache=False),
    )
    with pytest.raises(ValueError, match="must be at least 1"):
        model.beam_search([3], 4, num_beams=0)
    with pytest.raises(ValueError, match="expected one prompt, got 2"):
        model.beam_search([[3], [4]], 4)

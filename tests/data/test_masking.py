"""Masked words: how many, which, what stands in their places, and that a run resumes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt.data import (
    DataLoader,
    Draws,
    EachTokenMasked,
    HeldOutBatches,
    MaskedWords,
    TokenWindows,
    continuing_pieces,
    mask_id_of,
    masked_words,
)
from npgpt.data.sequences import LabelledTexts
from npgpt.tokenizers import BPETokenizer, CharTokenizer, WordPieceTokenizer, WordTokenizer
from tests.strategies import seeds

VOCAB, MASK, SPECIAL = 40, 39, (0, 38)
CONTINUING = np.arange(VOCAB) % 3 == 1


def texts(rng, count, longest):
    """Texts of ids, special ones among them, and their labels."""
    rows = [rng.integers(0, VOCAB - 1, rng.integers(1, longest + 1)) for _ in range(count)]
    return LabelledTexts(rows, np.zeros(count, int))


def words_of(text):
    """The words of a text as lists of places, written out once more by hand."""
    words = []
    for place, token in enumerate(text):
        if token in (*SPECIAL, MASK):
            continue
        if words and CONTINUING[token] and words[-1][-1] == place - 1:
            words[-1].append(place)
        else:
            words.append([place])
    return words


@settings(max_examples=30)
@given(
    seeds, st.integers(1, 30), st.sampled_from([0.05, 0.15, 0.5, 1.0]),
    st.sampled_from(["exact", "bernoulli"]), st.booleans(),
)  # fmt: skip
def test_what_is_drawn(seed, longest, probability, masking, whole):
    rng = np.random.default_rng(seed)
    data = texts(rng, 5, longest)
    masked = MaskedWords(
        data, VOCAB, MASK, probability, masking, SPECIAL, CONTINUING if whole else None
    )
    ids, targets, segments, lengths = masked.random_batch(range(5), Draws(seed, 0))
    np.testing.assert_array_equal(lengths, data.lengths)
    assert not segments.any()
    for row, text in enumerate(data.texts):
        n = len(text)
        asked = targets[row] != -100
        assert not asked[n:].any()
        np.testing.assert_array_equal(ids[row][~asked][: n - asked.sum()], text[~asked[:n]])
        np.testing.assert_array_equal(targets[row, asked], text[asked[:n]])
        assert not np.isin(text[asked[:n]], SPECIAL).any()  # never drawn,
        assert not np.isin(ids[row, asked], SPECIAL).any()  # and never put in
        candidates = n - np.isin(text, SPECIAL).sum()
        most = max(1, round(probability * n))
        if whole:
            for places in words_of(text):
                assert asked[places].all() == asked[places].any()
        if masking == "exact":
            assert asked.sum() <= most
            if not whole:
                assert asked.sum() == min(most, candidates)


@settings(max_examples=5)
@given(seeds, st.sampled_from(["exact", "bernoulli"]), st.booleans())
def test_shares_are_what_they_should_be(seed, masking, whole):
    count, time = 200, 60
    windows = TokenWindows(np.random.default_rng(seed).integers(1, 38, count * time + 1), time)
    masked = MaskedWords(windows, VOCAB, MASK, 0.2, masking, (), CONTINUING if whole else None)
    ids, targets = masked.random_batch(range(count), Draws(seed, 1))
    asked = targets != -100
    drawn = int(asked.sum())

    def near(hits, total, share, spread=1.0):
        # six standard deviations: one seed in a billion is farther away
        assert abs(hits - share * total) <= 6 * math.sqrt(spread * total * share * (1 - share))

    if masking == "exact":
        assert drawn == 12 * count or (whole and drawn > 11 * count)
    else:
        near(drawn, count * time, 0.2, spread=3.0 if whole else 1.0)  # words of several tokens
    kept = ids[asked] == targets[asked]
    near(int((ids[asked] == MASK).sum()), drawn, 0.8)
    near(int(kept.sum()), drawn, 0.1 + 0.1 / 39)  # another token may be the same
    random = ids[asked & (ids != MASK) & (ids != targets)]
    assert set(random) <= set(range(39))
    assert len(set(random.tolist())) > 30
    near(int(asked[:, : time // 2].sum()), drawn, 0.5)  # the beginning as often as the end


def test_each_epoch_draws_anew_and_a_loader_that_goes_on_draws_the_same():
    windows = TokenWindows(np.arange(1, 700) % 38, 16)
    masked = MaskedWords(windows, VOCAB, MASK)
    loader = DataLoader(masked, 4, shuffle=True, seed=3)
    batches = [batch for _ in range(2) for batch in loader]
    again = DataLoader(masked, 4, shuffle=True, seed=3)
    for _ in range(5):
        next(iter(again))
    rest = DataLoader(masked, 4, shuffle=True, seed=3)
    rest.load_state_dict(again.state_dict())
    for ours, theirs in zip(rest, batches[5:], strict=False):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    first, second = (masked.random_batch([7], Draws(3, epoch)) for epoch in (0, 1))
    assert (first[1] != second[1]).any()
    held_out = HeldOutBatches(masked, 5)
    for ours, theirs in zip(held_out, held_out, strict=True):
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_a_text_of_special_tokens_alone_has_no_targets():
    data = LabelledTexts([np.array([0, 38, 0]), np.array([5])], [0, 0])
    masked = MaskedWords(data, VOCAB, MASK, special_ids=SPECIAL)
    _, targets, _, _ = masked.random_batch([0, 1], Draws(0, 0))
    assert (targets != -100).sum(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probability": 0.0}, "probability must be above 0"),
        ({"probability": float("nan")}, "probability must be above 0"),
        ({"masking": "all"}, "masking must be one of exact, bernoulli"),
        ({"mask_id": 40}, "id 40 is outside the vocabulary of 40"),
        ({"special_ids": [-1]}, "id -1 is outside"),
        ({"continuing": np.zeros(3, bool)}, r"continuing must have the shape \(40,\), got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_said(changes, message):
    arguments = {"vocab_size": VOCAB, "mask_id": MASK, **changes}
    with pytest.raises(ValueError, match=message):
        MaskedWords(TokenWindows(np.arange(30), 4), **arguments)


def test_pieces_of_words_and_the_mask_are_found():
    text = "low lower lowest, naïve. " * 9
    tokenizer = BPETokenizer.train(text, 270, special_tokens=["<|endoftext|>", "[MASK]"])
    assert mask_id_of(tokenizer) == tokenizer.vocab_size - 1
    pieces = continuing_pieces(tokenizer)
    ids = tokenizer.encode(" lowish, naïf")
    shown = [tokenizer.decode([i]) for i in ids]
    assert [bool(pieces[i]) for i in ids] == [not t.startswith((" ", ",")) for t in shown]
    assert not pieces[mask_id_of(tokenizer)]
    word = WordTokenizer.train(text)
    assert not continuing_pieces(word).any()
    assert continuing_pieces(CharTokenizer.train("ab c"))[:4].tolist() == [False, True, True, True]
    with pytest.raises(ValueError, match=r"a WordTokenizer, has no token \[MASK\]"):
        mask_id_of(word)


def test_pieces_of_word_piece_begin_with_its_prefix():
    tokenizer = WordPieceTokenizer.train("low lower lowest. " * 9, 30)
    pieces = continuing_pieces(tokenizer)
    assert [bool(piece) for piece in pieces] == [t.startswith("##") for t in tokenizer.tokens]
    windows = TokenWindows(tokenizer.encode("low lower lowest. " * 9), 12)
    masked = masked_words(windows, tokenizer, whole_words=True)
    assert masked.mask_id == tokenizer.tokens.index("[MASK]")
    assert masked.is_special.sum() == len(tokenizer.special_ids)


def test_each_token_is_masked_once_and_all_others_stand():
    texts = [np.array([1, 7, 8, 2]), np.array([1, 2]), np.array([1, 5, 9, 6, 2])]
    each = EachTokenMasked(texts, mask_id=9, special_ids=[1, 2, 9])
    token_ids, targets, segments, lengths = each.batch(np.arange(len(each)))
    assert lengths.tolist() == [4, 4, 5, 5]
    assert not segments.any()
    asked = targets != -100
    assert (asked.sum(axis=1) == 1).all()
    assert targets[asked].tolist() == [7, 8, 5, 6]
    for row, target, length, text in zip(
        token_ids, targets, lengths, [texts[0], texts[0], texts[2], texts[2]], strict=True
    ):
        np.testing.assert_array_equal(np.where(target == -100, row, target)[:length], text)
    assert (token_ids[asked] == 9).all()
    some = EachTokenMasked(texts, 9, [1, 2, 9], limit=2)
    assert some.batch([0, 1])[1].max(axis=1).tolist() == [7, 5]
    with pytest.raises(ValueError, match="no token to ask for"):
        EachTokenMasked(texts[1:2], 9, [1, 2])

"""Pairs as ids: what a model is given, and the tokenizers that a run keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import BatchLoader, TokenBudget
from npgpt.data.left_out import LeftOut
from npgpt.data.pairs import (
    Pair,
    PairCorpus,
    PairParts,
    PairTexts,
    PairTokenizers,
    encode_pairs,
    split_pairs,
    train_tokenizers,
)
from npgpt.models.model import PairBatch
from npgpt.tokenizers import CharTokenizer

PAIRS = [Pair(f"the {n} {s}", f"{s} {n} ä") for n in range(30) for s in ("cat", "dog", "ox")]
PARTS = split_pairs(PairCorpus("animals", PAIRS), 0.3)
KINDS = ["joint", "separate", "char"]
MADE = {kind: train_tokenizers(PARTS, kind, vocab_size=280) for kind in KINDS}
ROWS = st.lists(st.tuples(*[st.lists(st.integers(3, 9), max_size=6)] * 2), min_size=1, max_size=12)


@given(ROWS, st.data())
def test_a_batch_has_start_end_lengths_and_filling_where_they_belong(rows, data):
    sources = [np.array([*source, 2], np.int64) for source, _ in rows]
    texts = PairTexts(sources, [np.array(t, np.int64) for _, t in rows], start_id=1, end_id=2)
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    batch = PairBatch(*texts.batch(indices))
    longest = max(len(sources[i]) for i in indices), max(len(rows[i][1]) + 1 for i in indices)
    assert batch.source_ids.shape == (len(indices), longest[0])
    assert batch.target_ids.shape == batch.targets.shape == (len(indices), longest[1])
    assert {array.dtype for array in batch} == {np.dtype(np.int64)}
    for row, i in enumerate(indices):
        length, count = batch.source_lengths[row], len(rows[i][1]) + 1
        assert batch.source_ids[row, :length].tolist() == [*rows[i][0], 2]
        assert not batch.source_ids[row, length:].any()
        assert batch.target_ids[row, :count].tolist() == [1, *rows[i][1]]
        assert batch.targets[row, :count].tolist() == [*rows[i][1], 2]
        assert not batch.target_ids[row, count:].any()
        assert (batch.targets[row, count:] == -100).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_comes_back_from_the_batches_of_an_epoch(kind):
    tokenizers = MADE[kind]
    for part in (PARTS.train, PARTS.held_out):
        texts, kept = encode_pairs(part, tokenizers)
        assert kept == part
        seen = []
        for batch in BatchLoader(texts, TokenBudget(texts.lengths, 100)):
            source_ids, lengths, target_ids, targets = batch
            assert len(source_ids) * max(source_ids.shape[1], target_ids.shape[1]) <= 100
            for ids, length, wanted in zip(source_ids, lengths, targets, strict=True):
                source = tokenizers.source.decode(ids[: length - 1])
                seen.append(Pair(source, tokenizers.decode_target(wanted[wanted >= 0])))
        assert sorted(seen) == sorted(part)


def test_joint_pieces_are_of_both_sides_and_characters_of_each():
    assert MADE["joint"].is_joint
    assert not MADE["separate"].is_joint
    char = MADE["char"]
    assert "ä" in char.target.characters
    assert "ä" not in char.source.characters
    assert MADE["joint"].source.vocab_size <= 280
    assert char.start_id == char.end_id == char.target.end_of_text_id
    assert char.decode_target([0, char.end_id, 0]) == char.target.decode([0])


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizers_are_saved_in_a_folder_and_loaded_from_it(tmp_path, kind):
    MADE[kind].save(tmp_path)
    loaded = PairTokenizers.load(tmp_path)
    assert loaded.fingerprint == MADE[kind].fingerprint
    assert loaded.is_joint == MADE[kind].is_joint
    expected = {"joint": {"tokenizer.json"}}.get(
        kind, {"source-tokenizer.json", "target-tokenizer.json"}
    )
    assert {path.name for path in tmp_path.iterdir()} == expected
    path = sorted(tmp_path.iterdir())[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"no tokenizer file .*{path.name}"):
        PairTokenizers.load(tmp_path)


def test_pairs_beyond_the_context_are_left_out_and_counted():
    left_out = LeftOut()
    pairs = [Pair("the cat", "cat 1"), Pair("the cat cat", "cat"), Pair("cat", "cat 1 2 3")]
    texts, kept = encode_pairs(pairs, MADE["char"], 8, left_out)
    assert kept == pairs[:1]
    assert (len(texts), texts.lengths.tolist()) == (1, [8])
    assert left_out.sentences() == [
        "2 records are left out because a side has more than 8 tokens; the first is 'the cat cat'."
    ]
    with pytest.raises(ValueError, match="None of 3 pairs fits into a context of 2 tokens"):
        encode_pairs(pairs, MADE["char"], 2)


def test_what_is_wrong_is_said():
    with pytest.raises(
        ValueError, match="tokenizers of pairs must be one of joint, separate, char, got 'word'"
    ):
        train_tokenizers(PARTS, "word")
    with pytest.raises(
        ValueError, match="the character 'z' at position 4 is not in the vocabulary"
    ):
        encode_pairs([PAIRS[0], Pair("the zoo", "cat")], MADE["char"])
    silent = CharTokenizer("ab", end_of_text=False)
    with pytest.raises(ValueError, match=r"the tokenizer of the source has no <\|endoftext\|>"):
        PairTokenizers(silent, MADE["char"].target)
    with pytest.raises(
        ValueError, match="as many sources as targets, and at least one, got 0 and 0"
    ):
        PairTexts([], [], 0, 1)
    parts = PairParts("none", [], [])
    with pytest.raises(ValueError, match="empty"):
        train_tokenizers(parts, "char")


def test_texts_are_encoded_together_as_they_are_alone():
    tokenizer = CharTokenizer.train("abc", unknown="<|unk|>")
    texts = ["ab", "", "cad", "b"]
    for together, text in zip(tokenizer.encode_batch(iter(texts)), texts, strict=True):
        np.testing.assert_array_equal(together, tokenizer.encode(text))
    assert tokenizer.encode_batch([]) == []

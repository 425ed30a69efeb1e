"""A BERT that was opened: masked places, vectors, and what is refused."""

import numpy as np
import pytest

from npgpt.data import EachTokenMasked, HeldOutBatches, never_asked_for
from npgpt.evaluation.masked import evaluate_masked
from npgpt.gradients.suite import shake
from npgpt.models import Bert, BertConfig
from npgpt.runs import Run, holds_bert, open_bert
from npgpt.tokenizers import WordPieceTokenizer
from tests.hub.folders import saved as saved_gpt
from tests.runs.tiny_run import tiny_config

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "mat", "##s", "."]
TEXT = "The [MASK] sat. The [MASK]."


def saved_bert(folder, words=WORDS, **changes):
    """Save a small BERT and its tokenizer as a folder of Hugging Face's; returns the folder."""
    config = BertConfig(len(WORDS) + 2, 12, n_layers=1, n_heads=2, d_model=8, **changes)
    model = Bert(config, seed=3)
    shake(model, np.random.default_rng(3))
    model.save_pretrained(folder, WordPieceTokenizer(words))
    return folder


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_bert(saved_bert(tmp_path_factory.mktemp("opened") / "bert"))


def test_each_mask_has_the_likeliest_tokens_with_their_probabilities(opened):
    ids = np.array([2, 5, 4, 7, 10, 5, 4, 10, 3])
    np.testing.assert_array_equal(opened.encode(TEXT, with_masks=True), ids)
    logits = opened.model.forward(ids[None])[0, [2, 6], : len(WORDS)].astype(float)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    filled = opened.fill(TEXT, top_k=len(WORDS) + 2)
    for found, row in zip(filled.masks, expected, strict=True):
        order = np.argsort(-row)
        assert [c.id for c in found] == order.tolist()  # and no row that is no token's
        assert [c.token for c in found] == [WORDS[i] for i in order]
        np.testing.assert_allclose([c.probability for c in found], row[order], rtol=1e-5)
    assert [len(found) for found in opened.fill(TEXT, top_k=3).masks] == [3, 3]


def test_the_text_is_filled_with_the_likeliest_tokens(opened):
    assert opened._filled(TEXT, ["cat", "##s"]) == "The cat sat. Thes."
    filled = opened.fill(TEXT)
    assert filled.text == opened._filled(TEXT, [found[0].token for found in filled.masks])


def test_vectors_are_means_whatever_stands_in_the_batch(opened):
    texts = ["The cat sat.", "cats", "the mat", "The cats sat on the mat."]
    together = opened.vectors(texts, batch_size=3)
    for text, vector in zip(texts, together, strict=True):
        x = opened.model.hidden_states(opened.encode(text)[None])[0]
        mean = x.mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
        np.testing.assert_allclose(opened.vectors([text], normalize=False)[0], mean, atol=1e-6)


def test_pieces_of_a_long_text_are_read_as_texts_are(opened):
    ids = opened.tokenizer.encode("the cat sat. " * 7)
    pieces = opened.pieces(ids)
    assert [len(piece) for piece in pieces] == [12, 12, 10]
    np.testing.assert_array_equal(np.concatenate([piece[1:-1] for piece in pieces]), ids)
    assert {(int(piece[0]), int(piece[-1])) for piece in pieces} == {(2, 3)}


def test_pseudo_perplexity_masks_each_token_in_its_turn(opened):
    ids = opened.encode("the cat sat.")
    each = EachTokenMasked([ids], opened.mask_id(), never_asked_for(opened.tokenizer))
    found = evaluate_masked(opened.model, HeldOutBatches(each, 3))
    nats = []
    for place in range(1, 5):
        masked = ids.copy()
        masked[place] = 4
        logits = opened.model.forward(masked[None])[0, place].astype(float)
        nats.append(np.log(np.exp(logits).sum()) - logits[ids[place]])
    assert found.words == 4
    assert found.loss == pytest.approx(np.mean(nats), rel=1e-5)


def test_a_run_is_read_without_tokens_around_and_a_blank_belongs_to_the_word(tmp_path):
    run = Run.create(
        tmp_path / "run",
        tiny_config(tmp_path, model="bert", tokenizer="bpe", vocab_size=270, n_heads=2, steps=2),
    )
    run.trainer().fit()
    assert holds_bert(run.folder)
    opened = open_bert(run.folder)
    tokenizer = opened.tokenizer
    ids = [*tokenizer.encode("the"), opened.mask_id(), *tokenizer.encode(" on")]
    assert opened.encode("the [MASK] on", with_masks=True).tolist() == ids
    assert opened._filled("the [MASK] on", [" cat"]) == "the cat on"
    np.testing.assert_array_equal(opened.encode("the cat"), tokenizer.encode("the cat"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("The cat", r"the text has no \[MASK\]; write it"),
        (" ", "the text is empty"),
        ("[MASK]" + " cat" * 11, "14 tokens with those around it, more than the 12 of the model's"),
    ],
)
def test_a_text_that_cannot_be_filled_is_refused(opened, text, message):
    with pytest.raises(ValueError, match=message):
        opened.fill(text)


def test_a_model_that_cannot_fill_is_refused(tmp_path):
    without = open_bert(saved_bert(tmp_path / "a", masked_head=False, pooler=True))
    with pytest.raises(ValueError, match="a is a BERT without a head for masked words; npgpt emb"):
        without.fill(TEXT)
    assert without.vectors(["cat"]).shape == (1, 8)
    words = [word.replace("[MASK]", "dog") for word in WORDS]
    with pytest.raises(ValueError, match=r"the vocabulary has no token \[MASK\]"):
        open_bert(saved_bert(tmp_path / "b", words)).fill(TEXT)
    folder, _ = saved_gpt(tmp_path / "gpt")
    assert not holds_bert(folder)
    with pytest.raises(ValueError, match="holds a GPT, not a BERT"):
        open_bert(folder)


def test_what_fills_is_a_bert(opened):
    assert type(opened.model) is Bert
    assert opened.kind == "pretrained"
    assert len(repr(opened.fill(TEXT))) < 80

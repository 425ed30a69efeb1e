"""Added tokens and templates: ids that Hugging Face's library gave, and what decides them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import tokenizers
from npgpt.data import encode_documents, encode_pieces
from npgpt.tokenizers import AddedToken, BPETokenizer, CharTokenizer

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "added_tokens.json").read_text(encoding="utf-8")
)
MERGES = BPETokenizer.train("low lower lowest " * 9, 264).merges
TOKENS = ("<|endoftext|>", AddedToken("<sep>"), AddedToken("<left>", lstrip=True))


def test_texts_have_the_ids_of_the_library(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(GOLDEN["tokenizer"]), encoding="utf-8")
    tokenizer = tokenizers.load(path)
    for text, ids in GOLDEN["ids"].items():
        found = tokenizer.encode(text, allowed_special="all")
        assert [tokenizer.special_ids["<s>"], *found.tolist()] == ids
        if "<|endoftext|>" not in text:
            assert tokenizer.encode_prompt(text).tolist() == ids


def test_added_tokens_are_always_found_and_special_ones_where_they_are_allowed():
    tokenizer = BPETokenizer(MERGES, TOKENS)
    sep = tokenizer.encode("<sep>").tolist()
    assert len(sep) == 1
    assert tokenizer.end_of_text_id not in tokenizer.encode("<|endoftext|>")
    assert tokenizer.encode("low<sep>low")[1:-1].tolist() == sep
    assert tokenizer.special_ids == {"<|endoftext|>": tokenizer.end_of_text_id}
    assert tokenizer.bytes_per_token()[sep[0]] == len("<sep>")
    assert tokenizer.decode(tokenizer.encode("a<sep>b")) == "a<sep>b"


def test_what_decides_ids_is_in_the_fingerprint_and_in_the_file(tmp_path):
    kinds = [
        BPETokenizer(MERGES),
        BPETokenizer(MERGES, TOKENS),
        BPETokenizer(MERGES, (*TOKENS[:2], AddedToken("<left>"))),
        BPETokenizer(MERGES, (*TOKENS[:2], AddedToken("<left>", special=True))),
        BPETokenizer(MERGES, (*TOKENS[:2], AddedToken("<left>", normalized=True))),
        BPETokenizer(MERGES, template=(5, None)),
        BPETokenizer(MERGES, template=(None, 5)),
        BPETokenizer(MERGES, (*TOKENS, AddedToken("low"))),  # a merge's own id, below the others
        BPETokenizer(MERGES, ("<s>", "</s>"), range(256 + len(MERGES) + 2)[::-1]),
        BPETokenizer(MERGES, TOKENS, [*range(256 + len(MERGES)), 900, 800, 700]),
    ]
    assert len({kind.fingerprint for kind in kinds}) == len(kinds)
    for kind in kinds:
        kind.save(tmp_path / "tokenizer.json")
        assert tokenizers.load(tmp_path / "tokenizer.json").fingerprint == kind.fingerprint


def test_only_a_prompt_gets_what_is_put_around_it():
    tokenizer = BPETokenizer(MERGES, template=(7, None, 9, None))
    ids = tokenizer.encode("lower").tolist()
    assert tokenizer.encode_prompt("lower").tolist() == [7, *ids, 9, *ids]
    assert encode_documents(["lower"], tokenizer).tolist() == ids
    plain = CharTokenizer.train("abc")
    assert plain.encode_prompt("cab").tolist() == plain.encode("cab").tolist()
    with pytest.raises(ValueError, match="the template's id 999 is outside the vocabulary"):
        BPETokenizer(MERGES, template=(999, None))


@given(st.lists(st.sampled_from(["low", " ", "\n", "<left>", "<sep>", "x"]), max_size=12))
def test_pieces_of_a_document_have_the_ids_of_the_whole(words):
    for tokens in (TOKENS, TOKENS[:2]):
        tokenizer = BPETokenizer(MERGES, tokens)
        # a piece ends before white space, as those of a stream do
        pieces = [[]]
        for word in words:
            if word.isspace() and pieces[-1] and not pieces[-1][-1].isspace():
                pieces.append([])
            pieces[-1].append(word)
        texts = ["".join(piece) for piece in pieces]
        streamed = encode_pieces([(t, t is texts[-1]) for t in texts], tokenizer)
        expected = encode_documents(["".join(words)], tokenizer)
        np.testing.assert_array_equal(np.concatenate([*streamed]), expected)

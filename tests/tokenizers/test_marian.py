"""The tokenizers of MarianMT, with a stand-in for SentencePiece, which need not be installed."""

import json
import sys
import types

import numpy as np
import pytest

from npgpt.tokenizers import MarianTokenizers, SentencePieces

PIECES = ["</s>", "<unk>", "\u2581the", "\u2581cat", "s", ">>de<<", "<pad>"]
VOCABULARY = {piece: i for i, piece in enumerate(PIECES)}


class Processor:
    """Cuts words, and a final s from each, as a model of SentencePiece might."""

    def __init__(self, model_proto):
        if not model_proto.startswith(b"spm"):
            raise RuntimeError("could not parse ModelProto")

    def encode(self, text, out_type):
        assert out_type is str
        pieces = []
        for word in text.split():
            pieces += [f"\u2581{word[:-1]}", "s"] if word.endswith("s") else [f"\u2581{word}"]
        return pieces

    def decode_pieces(self, pieces):
        return "".join(pieces).replace("\u2581", " ").strip()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    stand_in = types.SimpleNamespace(SentencePieceProcessor=Processor)
    monkeypatch.setitem(sys.modules, "sentencepiece", stand_in)
    (tmp_path / "vocab.json").write_text(json.dumps(VOCABULARY))
    for name in ("source.spm", "target.spm"):
        (tmp_path / name).write_bytes(b"spm " + name.encode())
    return tmp_path


def test_ids_are_the_vocabularys_with_ends_and_languages(folder):
    tokenizers = MarianTokenizers.load(folder)
    one, other = tokenizers.encode_sources(["the cats", ">>de<<the dog"])
    assert (one.tolist(), other.tolist()) == ([2, 3, 4, 0], [5, 2, 1, 0])
    assert one.dtype == np.int64
    assert tokenizers.encode_targets(["the cat"])[0].tolist() == [2, 3]
    assert tokenizers.decode_target([2, 3, 4, 6, 0, 2]) == "the cats"
    assert (tokenizers.start_id, tokenizers.end_id) == (6, 0)
    assert tokenizers.target.unused_ids == (6,)
    assert tokenizers.is_joint


def test_they_come_back_from_the_files_that_they_write(folder, tmp_path):
    first = MarianTokenizers.load(folder)
    target = SentencePieces({**VOCABULARY, "\u2581Katze": 7}, first.target.model)
    for written in (first, MarianTokenizers(first.source, target)):
        place = tmp_path / str(written.is_joint)
        place.mkdir()
        written.save(place)
        again = MarianTokenizers.load(place)
        assert again.fingerprint == written.fingerprint
        assert again.target.vocab_size == written.target.vocab_size


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("source.spm", b"no", r"source\.spm is not a SentencePiece model \(could not parse"),
        ("vocab.json", b'{"</s>": 0, "<unk>": 1}', r"vocab\.json has no <pad>"),
        ("vocab.json", b'{"</s>": 0, "<unk>": 2}', "must give each piece one of the ids"),
        ("vocab.json", b"[]", "must hold a JSON object"),
        ("tokenizer_config.json", b'{"eos_token": "<end>"}', "eos_token must be </s>, got '<end>'"),
    ],
)
def test_a_damaged_file_is_named(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        MarianTokenizers.load(folder)


def test_what_is_missing_is_named(folder, monkeypatch):
    (folder / "target.spm").unlink()
    with pytest.raises(FileNotFoundError, match=r"There is no target\.spm in"):
        MarianTokenizers.load(folder)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"pip install 'npgpt\[sentencepiece\]' brings it"
    ):
        MarianTokenizers.load(folder)

"""Token files: written as a stream, read as memory maps, and what is wrong with them."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import (
    DataLoader,
    StreamedCorpus,
    TokenFolder,
    TokenWindows,
    encode_documents,
    encode_pieces,
    load_corpus,
    read_tokens,
    reading,
    split_corpus,
    token_writer,
    write_token_folder,
)
from npgpt.tokenizers import BPETokenizer, CharTokenizer, WordPieceTokenizer, WordTokenizer

TOKENIZER = BPETokenizer.train("the sea shells, she sells the sea shells " * 3, 290)
DOCUMENTS = st.lists(st.text("ab é\n", min_size=1, max_size=30), min_size=1, max_size=5)


@pytest.fixture
def path(tmp_path):
    """A token file of npgpt."""
    with token_writer(tmp_path / "ids.bin", TOKENIZER, "sea") as writer:
        writer.write(np.arange(5))
        writer.write(np.array([7, 200, 267]))
    return tmp_path / "ids.bin"


def test_ids_come_back_as_a_memory_map_with_the_header(path):
    tokens = read_tokens(path, TOKENIZER)
    assert isinstance(tokens.ids, np.memmap)
    assert tokens.ids.dtype == np.uint16
    assert tokens.ids.tolist() == [0, 1, 2, 3, 4, 7, 200, 267]
    assert tokens.header["tokenizer"] == "BPETokenizer"
    assert tokens.header["tokenizer_fingerprint"] == TOKENIZER.fingerprint
    assert (tokens.header["corpus"], tokens.header["num_tokens"]) == ("sea", 8)


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    tokenizer = CharTokenizer(map(chr, range(70_000)))
    with token_writer(tmp_path / "ids.bin", tokenizer) as writer:
        writer.write(tokenizer.encode(chr(69_999)))
    tokens = read_tokens(tmp_path / "ids.bin", tokenizer)
    assert (tokens.ids.dtype, tokens.ids.tolist()) == (np.uint32, [69_999])


def test_a_file_that_was_not_finished_is_not_there(tmp_path):
    with pytest.raises(KeyError), token_writer(tmp_path / "ids.bin", TOKENIZER) as writer:
        writer.write(np.arange(5))
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_another_tokenizer_is_noticed(path):
    other = BPETokenizer.train("low low", 258)
    with pytest.raises(ValueError, match="made with another tokenizer, a BPETokenizer of 268 tok"):
        read_tokens(path, other)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_anywhere_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"ids\.bin (is not a|holds no)"):
        read_tokens(path, TOKENIZER)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:8] + struct.pack("<I", 9) + content[12:],
        lambda content: content.replace(b"uint16", b"uint99"),
        lambda content: content.replace(b'"num_tokens": 8', b'"num_tokens":"8'),
        lambda content: content[:16] + b"[]" + content[18:],
        lambda content: content + b"\x00\x00",
        lambda content: content[:20],
    ],
)
def test_a_header_that_is_damaged_is_refused(path, change):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"ids\.bin is not a whole token file"):
        read_tokens(path)


@pytest.mark.parametrize(
    ("magic", "version", "dtype"), [(20240520, 1, "<u2"), (20240801, 7, "<u4")]
)
def test_files_of_llmc_are_read(tmp_path, magic, version, dtype):
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, 4
    ids = np.array([5, 6, 7, 267], dtype)
    (tmp_path / "a.bin").write_bytes(header.tobytes() + ids.tobytes())
    tokens = read_tokens(tmp_path / "a.bin", TOKENIZER)
    assert (tokens.ids.tolist(), tokens.ids.dtype, tokens.header) == (ids.tolist(), ids.dtype, {})
    (tmp_path / "a.bin").write_bytes(header.tobytes() + ids.tobytes()[:-2])
    with pytest.raises(ValueError, match="should have 4 tokens"):
        read_tokens(tmp_path / "a.bin")


def test_files_of_nanogpt_are_read(tmp_path):
    np.array([5, 6, 300], "<u2").tofile(tmp_path / "train.bin")
    assert read_tokens(tmp_path / "train.bin").ids.tolist() == [5, 6, 300]
    with pytest.raises(ValueError, match="holds the id 300, but the tokenizer has 268"):
        read_tokens(tmp_path / "train.bin", TOKENIZER)
    (tmp_path / "train.bin").write_bytes(b"odd")
    with pytest.raises(ValueError, match="is not a token file"):
        read_tokens(tmp_path / "train.bin")
    (tmp_path / "text.txt").write_bytes(b"even")
    with pytest.raises(ValueError, match="is not a token file"):
        read_tokens(tmp_path / "text.txt")
    with pytest.raises(FileNotFoundError, match="There is no token file"):
        read_tokens(tmp_path / "nowhere.bin")


PIECES = WordPieceTokenizer(["[UNK]", "[SEP]", "a", "##b", "##a"])

# --- corpora as streams ----------------------------------------------------------------------


@given(DOCUMENTS, st.integers(1, 20), st.sampled_from([0.1, 0.3, 0.5]))
def test_files_hold_what_encoding_the_whole_corpus_gives(tmp_path_factory, documents, size, share):
    folder = tmp_path_factory.mktemp("streams")
    path = folder / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": d}) for d in documents))
    corpus = load_corpus(path)
    if corpus.num_characters < 4:
        return
    parts = split_corpus(corpus, share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PIECE_SIZE", size)
        for tokenizer in (TOKENIZER, CharTokenizer("ab é\n"), WordTokenizer("ab"), PIECES):
            out = folder / type(tokenizer).__name__
            expected = [encode_documents(part, tokenizer).tolist() for part in parts]
            if not all(expected):
                continue
            write_token_folder(out, StreamedCorpus(path, share), tokenizer)
            written = TokenFolder.open(out, tokenizer)
            assert [written.train.ids.tolist(), written.validation.ids.tolist()] == expected


@given(st.text("ab é\n ", min_size=1), st.integers(1, 20))
def test_pieces_of_one_document_are_encoded_as_the_whole(tmp_path_factory, text, size):
    path = tmp_path_factory.getbasetemp() / "piece.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PIECE_SIZE", size)
        pieces = [*StreamedCorpus(path).pieces()]
    ids = np.concatenate([*encode_pieces(pieces, TOKENIZER)])
    assert ids.tolist() == TOKENIZER.encode(text).tolist()


def test_progress_counts_characters(tmp_path):
    (tmp_path / "a.txt").write_text("the sea " * 50)
    calls = []
    corpus = StreamedCorpus(tmp_path / "a.txt")
    write_token_folder(tmp_path / "out", corpus, TOKENIZER, lambda *call: calls.append(call))
    assert calls[-1] == (400, 400)


def test_a_folder_that_holds_something_is_not_touched(tmp_path):
    (tmp_path / "a.txt").write_text("the sea")
    with pytest.raises(FileExistsError, match="exists already"):
        write_token_folder(tmp_path, StreamedCorpus(tmp_path / "a.txt"), TOKENIZER)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_without_a_part_is_named(path):
    path.rename(path.with_name("train.bin"))
    with pytest.raises(FileNotFoundError, match="no validation part"):
        TokenFolder.open(path.parent)


def test_windows_over_a_token_file_are_read_ahead_and_resume_exactly(tmp_path):
    with token_writer(tmp_path / "ids.bin", TOKENIZER) as writer:
        writer.write(np.arange(268))
    ids = read_tokens(tmp_path / "ids.bin").ids
    plain = DataLoader(TokenWindows(np.array(ids), 8, 3), 4, shuffle=True, seed=2)
    ahead = DataLoader(TokenWindows(ids, 8, 3), 4, shuffle=True, seed=2, prefetch=2)
    stream = ahead.forever()
    for _ in range(9):
        next(stream)
    state = ahead.state_dict()
    plain.load_state_dict(state)
    for theirs, ours in zip(plain, stream, strict=False):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])

"""Which files are the parts of a corpus: npgpt's, llm.c's, nanoGPT's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import TokenFolder, load_corpus, read_tokens, token_writer
from npgpt.data.token_folder import holds_token_files
from npgpt.runs import DataConfig
from npgpt.runs.source import open_source
from npgpt.tokenizers import BPETokenizer

TOKENIZER = BPETokenizer.train("the sea shells, she sells the sea shells " * 3, 290)
LLMC = [(20240520, 1, "<u2"), (20240801, 7, "<u4")]


def llmc(path, ids, magic=20240520, version=1, dtype="<u2", count=None):
    """Write a file as llm.c's dev/data/data_common.py does."""
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(ids) if count is None else count
    path.write_bytes(header.tobytes() + np.array(ids, dtype).tobytes())
    return path


def npgpt_file(path, ids):
    with token_writer(path, TOKENIZER) as writer:
        writer.write(np.array(ids))
    return path


def parts_of(source, fraction=0.1):
    config = DataConfig(str(source), validation_fraction=fraction)
    return [part.tolist() for part in open_source(config).ids(TOKENIZER)]


@pytest.mark.parametrize("kind", LLMC)
@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("tiny_shakespeare_train.bin", "tiny_shakespeare_val.bin"),
        ("TinyStories_train.bin", "TinyStories_val.bin"),
        ("x-train.BIN", "x-valid.bin"),
        ("train.bin", "val.bin"),
        ("a.train.bin", "a.validation.bin"),
    ],
)
def test_llmcs_own_folder_and_its_files_are_read_without_renaming(
    tmp_path, kind, train, validation
):
    llmc(tmp_path / train, range(50), *kind)
    llmc(tmp_path / validation, range(7), *kind)
    (tmp_path / "tiny_shakespeare.txt").write_text("the text itself")
    llmc(tmp_path / "hellaswag_val.bin", [1], magic=20240522)  # another format, beside them
    for source in (tmp_path, tmp_path / train):
        assert parts_of(source) == [list(range(50)), list(range(7))]
    assert parts_of(tmp_path / validation, 0.5) == [[0, 1, 2], [3, 4, 5, 6]]


@given(st.text("abc.-_ é", min_size=1, max_size=8), st.sampled_from(LLMC), st.booleans())
def test_a_token_file_is_known_by_its_header_whatever_its_name_is(
    tmp_path_factory, name, kind, ours
):
    path = tmp_path_factory.mktemp("any") / f"{name}x"
    npgpt_file(path, range(20)) if ours else llmc(path, range(20), *kind)
    assert holds_token_files(path)
    assert parts_of(path) == [list(range(18)), [18, 19]]
    with pytest.raises(ValueError, match="holds token ids, not text"):
        load_corpus(path)


@given(
    st.sampled_from(["openwebtext.bin", "tokens.bin", "my ids.BIN", "a.npgpt.bin"]),
    st.lists(st.integers(0, TOKENIZER.vocab_size - 1), min_size=2, max_size=20),
)
def test_a_bin_without_a_header_holds_ids_unless_it_is_a_text(tmp_path_factory, name, ids):
    path = tmp_path_factory.mktemp("any") / name
    np.array(ids, "<u2").tofile(path)
    if b"\0" not in path.read_bytes():
        return  # ids from 256 on alone may be a text
    assert holds_token_files(path)
    assert holds_token_files(path.with_name("*"))
    train, held_out = parts_of(path, 0.5)
    assert [*train, *held_out] == ids
    path.write_text("é" * 1000)  # cut within a character at the header's length, if it were one
    assert not holds_token_files(path)
    path.write_bytes(b"e" + "é".encode() * 1000)
    assert not holds_token_files(path)


def test_a_pattern_that_finds_both_parts_learns_from_one(tmp_path):
    llmc(tmp_path / "tiny_train.bin", range(9))
    llmc(tmp_path / "tiny_val.bin", [1, 2])
    for pattern in ("tiny_*.bin", "*.bin", "*"):
        assert parts_of(tmp_path / pattern) == [list(range(9)), [1, 2]]
    assert parts_of(tmp_path / "*_val.bin", 0.5) == [[1], [2]]


def test_shards_are_read_in_the_order_of_their_names(tmp_path):
    for number in (1, 2, 10):
        llmc(tmp_path / f"fineweb_train_{number:06}.bin", [number] * 3)
    llmc(tmp_path / "fineweb_val_000000.bin", [5, 6])
    everything = [[1] * 3 + [2] * 3 + [10] * 3, [5, 6]]
    assert parts_of(tmp_path) == parts_of(tmp_path / "fineweb_train_*.bin") == everything
    assert parts_of(tmp_path / "fineweb_train_000002.bin") == [[2] * 3, [5, 6]]


def test_a_folder_of_several_corpora_asks_for_one(tmp_path):
    for name in ("a", "b"):
        llmc(tmp_path / f"{name}_train.bin", [1, 2])
        llmc(tmp_path / f"{name}_val.bin", [3])
    with pytest.raises(ValueError, match=r"several corpora: name one of .*a_train.bin, .*b_train"):
        open_source(DataConfig(str(tmp_path)))
    assert parts_of(tmp_path / "b_train.bin") == [[1, 2], [3]]


def test_nanogpts_files_are_known_by_their_names_and_its_pickle_is_not_opened(tmp_path):
    np.arange(20, dtype="<u2").tofile(tmp_path / "train.bin")
    np.arange(5, dtype="<u2").tofile(tmp_path / "val.bin")
    (tmp_path / "meta.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    for source in (tmp_path, tmp_path / "train.bin"):
        assert parts_of(source) == [list(range(20)), list(range(5))]
    config = DataConfig(str(tmp_path))
    with pytest.raises(ValueError, match=r"meta.pkl is a pickle, .* is never opened; .*--tokeni"):
        open_source(config).tokenizer(config)


def test_texts_are_still_texts(tmp_path):
    (tmp_path / "book_train.bin").write_text("a text with the ending of tokens")  # no header
    (tmp_path / "a.txt").write_text("a text")
    (tmp_path / "constrain.bin").write_text("a text")
    assert not holds_token_files(tmp_path)
    assert load_corpus(tmp_path).documents == ["a text"]
    assert not holds_token_files(tmp_path / "constrain.bin")
    assert not holds_token_files(tmp_path / "a.txt")
    assert not holds_token_files("python-docs")
    assert not holds_token_files("-")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 21}, r"should have 21 tokens, .* and it has 1,064 bytes"),
        ({"count": 19}, "should have 19 tokens"),
        ({"count": -1}, "should have -1 tokens"),
        ({"count": 0, "ids": []}, "holds no tokens"),
        ({"version": 2}, "magic number 20240520, and has a header cut short, or of version 2"),
        ({"magic": 20240522}, "magic number 20240522, and has the questions of an evaluation"),
        ({"magic": 20240326}, "magic number 20240326, and has something else"),
        ({"ids": [*range(19), 290]}, "holds the id 290, but the tokenizer has"),
    ],
)
def test_a_file_of_llmc_that_is_damaged_or_of_other_ids_is_named(tmp_path, changes, message):
    path = llmc(tmp_path / "a_train.bin", **{"ids": range(20), **changes})
    with pytest.raises(ValueError, match=message):
        read_tokens(path, TOKENIZER)


@given(st.integers(0, 1063))
def test_a_file_of_llmc_cut_short_anywhere_is_refused(tmp_path_factory, size):
    path = llmc(tmp_path_factory.getbasetemp() / "cut", range(20))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="is not a"):
        read_tokens(path, TOKENIZER)


def test_a_part_is_a_memory_map(tmp_path):
    llmc(tmp_path / "a_train.bin", range(9))
    assert isinstance(TokenFolder.open(tmp_path / "a_train.bin").train.ids, np.memmap)

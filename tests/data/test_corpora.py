"""Corpora: reading, splitting, encoding."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import Corpus, encode_documents, load_corpus, split_corpus

DOCUMENTS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5)


@dataclasses.dataclass
class CodePoints:
    """A tokenizer in one line: ids are code points."""

    vocab_size: int = 0x110000
    end_of_text_id: int | None = None

    def encode(self, text):
        return np.array([ord(c) for c in text], np.int64)


# --- reading ---------------------------------------------------------------------------------


def test_python_docs_has_one_document_a_topic_in_the_order_of_their_names():
    from pydoc_data.topics import topics

    corpus = load_corpus("python-docs")
    assert corpus.name == "python-docs"
    assert corpus.documents == [text for _, text in sorted(topics.items())]
    assert corpus.num_characters == sum(map(len, topics.values()))


def test_a_file_is_one_document_read_to_the_letter(tmp_path):
    text = "one\r\ntwo\rthree\n\u2028naïve 🙂\n"
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    for source in (path, str(path)):
        corpus = load_corpus(source)
        assert corpus.name == "text.txt"
        assert corpus.documents == [text]
    assert corpus.num_characters == len(text)
    assert corpus.num_bytes == len(text.encode())


def test_a_byte_order_mark_is_dropped_only_at_the_beginning(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffa\ufeffb".encode())
    assert load_corpus(path).documents == ["a\ufeffb"]


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    (folder / "more").mkdir(parents=True)
    for name in ("b.txt", "a.md", "more/c.txt", "skip.py", "more/d.rst"):
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def test_a_folder_is_its_txt_and_md_files_in_the_order_of_their_names(texts):
    corpus = load_corpus(texts)
    assert corpus.documents == ["a.md", "b.txt", "more/c.txt"]
    assert corpus.name == "texts"


def test_the_folder_one_is_in_has_its_own_name(texts, monkeypatch):
    monkeypatch.chdir(texts)
    assert load_corpus(".").name == "texts"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", ["b.txt"]),
        ("**/*.txt", ["b.txt", "more/c.txt"]),
        ("more/*", ["more/c.txt", "more/d.rst"]),
    ],
)
def test_a_glob_is_the_files_that_match_it_in_the_order_of_their_names(texts, pattern, expected):
    assert load_corpus(f"{texts}/{pattern}").documents == expected


def test_a_file_that_exists_goes_before_the_built_in_corpus_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(load_corpus("python-docs").documents) > 1
    (tmp_path / "python-docs").write_text("mine", encoding="utf-8")
    assert load_corpus("python-docs").documents == ["mine"]


@pytest.mark.parametrize("source", ["nothing.txt", "none/*.txt", "pythondocs"])
def test_a_source_that_is_not_there_is_named_with_the_built_in_ones(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        load_corpus(source)
    assert source in str(error.value)
    assert "python-docs" in str(error.value)


def test_a_folder_without_texts_is_named(tmp_path):
    (tmp_path / "code.py").write_text("pass")
    with pytest.raises(
        FileNotFoundError, match=rf"no \.txt, \.md or \.jsonl .* in the folder {tmp_path}"
    ):
        load_corpus(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_is_named(texts, content):
    (texts / "empty.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"empty\.txt is empty"):
        load_corpus(texts)


def test_bytes_that_are_not_utf8_are_named_with_file_and_offset(texts):
    (texts / "latin.txt").write_bytes("né".encode("latin-1") + b" ok")
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8 text: byte 0xe9 at offset 1 "):
        load_corpus(texts)


# --- the corpus ------------------------------------------------------------------------------


def test_a_corpus_cannot_be_changed_under_its_fingerprint():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Corpus("a", ["b"]).name = "c"


def test_the_fingerprint_is_that_of_documents_with_their_lengths():
    # sha256 of 1, 0 x 7, "a", 2, 0 x 7, "é" in UTF-8, computed by sha256sum
    expected = "dbe152f80bbb24538dd5e55a5f57b37ec95331fbc7154a5907f5f396d915ed1d"
    assert Corpus("any", ["a", "é"]).fingerprint == expected


@given(DOCUMENTS, DOCUMENTS)
def test_fingerprints_are_equal_only_for_equal_documents(one, other):
    same = Corpus("one", one).fingerprint == Corpus("other", other).fingerprint
    assert same == (one == other)


def test_the_fingerprint_tells_where_a_document_ends():
    fingerprints = {
        Corpus("", d).fingerprint for d in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""])
    }
    assert len(fingerprints) == 4


# --- splitting -------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=200))
def test_one_document_is_split_where_nanogpt_splits_it(data):
    n = len(data)
    expected = [part for part in (data[: int(n * 0.9)],) if part], [data[int(n * 0.9) :]]
    assert split_corpus(Corpus("", [data])) == expected


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_fraction_in_percent_is_as_exact_as_its_complement_written_out(percent):
    for n in range(10, 210, 10):
        train, _ = split_corpus(Corpus("", ["x" * n]), validation_fraction=percent / 100)
        assert len("".join(train)) == int(n * float(f"0.{100 - percent:02d}"))


@given(DOCUMENTS, st.floats(0.001, 0.999))
def test_only_the_document_in_which_the_cut_falls_is_divided(documents, fraction):
    train, validation = split_corpus(Corpus("", documents), fraction)
    assert "".join(train + validation) == "".join(documents)
    assert all(train + validation)
    n = sum(map(len, documents))
    assert math.isclose(len("".join(train)), n * (1 - fraction), abs_tol=1)
    if len(train) + len(validation) == len(documents):
        assert train + validation == documents
    else:
        assert len(train) + len(validation) == len(documents) + 1
        assert [*train[:-1], train[-1] + validation[0], *validation[1:]] == documents


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_fraction_that_leaves_no_part_is_refused(fraction):
    with pytest.raises(ValueError, match=rf"above 0 and below 1, got {fraction}"):
        split_corpus(Corpus("", ["abc"]), fraction)


# --- encoding --------------------------------------------------------------------------------


@given(DOCUMENTS)
def test_end_of_text_stands_between_documents_and_nowhere_else(documents):
    ids = encode_documents(documents, CodePoints(end_of_text_id=0xFFFFF + 1))
    expected = [ord(c) for c in documents[0]]
    for document in documents[1:]:
        expected += [0x100000, *map(ord, document)]
    assert ids.tolist() == expected


@given(DOCUMENTS)
def test_without_end_of_text_documents_are_joined(documents):
    assert encode_documents(documents, CodePoints()).tolist() == list(map(ord, "".join(documents)))


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65536, np.uint16), (65537, np.uint32)])
def test_ids_take_two_bytes_as_long_as_the_vocabulary_allows(vocab_size, dtype):
    last = chr(65535)
    for documents in ([last], [last, last], []):
        ids = encode_documents(documents, CodePoints(vocab_size, end_of_text_id=1))
        assert ids.dtype == dtype
        assert ids.tolist() == [65535, 1, 65535][: max(0, 2 * len(documents) - 1)]


def test_progress_counts_documents_and_changes_nothing():
    calls = []
    ids = encode_documents(["ab", "c", "d"], CodePoints(), lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert ids.tolist() == encode_documents(["ab", "c", "d"], CodePoints()).tolist()

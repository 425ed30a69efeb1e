"""Files in pieces: JSON lines, packed files, standard input, and what is wrong with them."""

import gzip
import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import Corpus, load_corpus, reading, split_corpus, stream_corpus
from npgpt.data.reading import safe_cut
from npgpt.tokenizers.bpe import PRE_TOKEN
from tests.data.test_records import LINE_ENDS


def json_lines(path, *contents):
    path.write_text("\n".join(map(json.dumps, contents)), encoding="utf-8")
    return path


def test_python_source_is_the_standard_library_without_its_tests():
    import inspect
    import string

    corpus = load_corpus("python-source")
    assert corpus.name == "python-source"
    assert inspect.getsource(string) in corpus.documents
    assert 5e6 < corpus.num_characters < 5e7
    assert all(corpus.documents)
    import test.support

    assert inspect.getsource(test.support) not in corpus.documents


def test_each_line_of_a_jsonl_file_is_a_document(tmp_path):
    path = json_lines(tmp_path / "a.jsonl", {"text": "one\ntwo"}, {"id": 7, "text": "naïve\u2028"})
    path.write_text(path.read_text() + "\n\n")
    assert load_corpus(path).documents == ["one\ntwo", "naïve\u2028"]


def test_the_field_of_a_jsonl_file_is_chosen(tmp_path):
    path = json_lines(tmp_path / "a.jsonl", {"text": "no", "content": "yes"})
    assert load_corpus(path, field="content").documents == ["yes"]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.TXT.GZ", "a.gz"])
def test_a_packed_text_is_unpacked(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress("größe\n".encode()))
    assert load_corpus(tmp_path / name).documents == ["größe\n"]


def test_a_folder_holds_texts_of_all_kinds(tmp_path):
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"b", mtime=0))
    (tmp_path / "c.md").write_text("c")
    (tmp_path / "d.bin.gz").write_bytes(b"not read")
    json_lines(tmp_path / "a.jsonl", {"text": "a1"}, {"text": "a2"})
    assert load_corpus(tmp_path).documents == ["a1", "a2", "b", "c"]


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("grüezi\r\n".encode())))
    corpus = load_corpus("-")
    assert (corpus.name, corpus.documents) == ("stdin", ["grüezi\r\n"])


@given(st.text(min_size=1), st.integers(1, 9))
def test_pieces_of_any_size_join_to_the_text(tmp_path_factory, text, size):
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PIECE_SIZE", size)
        pieces = list(stream_corpus(path))
    assert "".join(piece for piece, _ in pieces) == text
    assert [ends for _, ends in pieces] == [False] * (len(pieces) - 1) + [True]


@given(st.text(st.sampled_from("ab1'. \n\t\x1c\x85\u3000é") | st.characters(), max_size=30))
def test_a_safe_cut_divides_no_pre_token_and_changes_none(text):
    text = text.encode("utf-8", "replace").decode()
    cut = safe_cut(text)
    parts = PRE_TOKEN.findall(text[:cut]) + PRE_TOKEN.findall(text[cut:])
    assert parts == PRE_TOKEN.findall(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text"', "line 2 is not JSON"),
        (b'{"text": "a"}\n[1]', "line 2 is not a JSON object"),
        (b'{"body": "a", "id": 1}', "line 1 has no field 'text'; it has 'body', 'id'"),
        (b'{"text": 3}', "line 1: the field 'text' is not a text"),
        (b"\n\n", "a.jsonl is empty"),
    ],
)
def test_a_jsonl_file_that_is_wrong_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_corpus(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "content", [b"not packed", gzip.compress(b"text" * 99, mtime=0)[:-9], b"\x1f\x8b"]
)
def test_a_damaged_packed_file_is_named(tmp_path, content):
    (tmp_path / "a.txt.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.txt\.gz cannot be unpacked"):
        load_corpus(tmp_path / "a.txt.gz")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_broken_utf8_is_named_with_its_offset_or_replaced(tmp_path, monkeypatch, size):
    monkeypatch.setattr(reading, "PIECE_SIZE", size)
    path = tmp_path / "a.txt"
    path.write_bytes("日本 ".encode() + b"\xe6\x97 ok")
    with pytest.raises(ValueError, match=r'byte 0xe6 at offset 7 .*errors="replace"'):
        load_corpus(path)
    assert load_corpus(path, errors="replace").documents == ["日本 \ufffd ok"]
    assert load_corpus(path, errors="ignore").documents == ["日本  ok"]
    with pytest.raises(ValueError, match="errors must be one of strict, replace, ignore, got 'x'"):
        load_corpus(path, errors="x")


HIDDEN = [".ipynb_checkpoints", ".git", ".cache", "__MACOSX", "__pycache__"]


@pytest.mark.parametrize(
    "place",
    [f"{name}/a.txt" for name in HIDDEN]
    + ["sub/.git/deep/a.txt", "._a.txt", ".#a.md", "sub/.a.jsonl"],
)
def test_hidden_files_of_a_folder_are_left_out_and_said(tmp_path, place, caplog):
    (tmp_path / "b.txt").write_text("seen")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text('{"text": "hidden"}')
    assert load_corpus(tmp_path).documents == ["seen"]
    assert caplog.messages == [
        f"{tmp_path}: 1 text file is left out, being hidden: {tmp_path / place}."
    ]
    (tmp_path / "b.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no \.txt, \.md or .jsonl file"):
        load_corpus(tmp_path)


@pytest.mark.parametrize("name", ["a.txt~", "#a.txt#", ".a.txt.swp", "a.txt.bak", "a.txt.orig"])
def test_what_an_editor_leaves_beside_a_text_is_no_text(tmp_path, name):
    (tmp_path / "a.txt").write_text("seen")
    (tmp_path / name).write_text("old")
    assert load_corpus(tmp_path).documents == ["seen"]


def test_a_folder_whose_own_path_is_hidden_is_read(tmp_path):
    folder = tmp_path / ".texts"
    folder.mkdir()
    (folder / "a.txt").write_text("seen")
    assert load_corpus(folder).documents == ["seen"]
    assert load_corpus(folder / "a.txt").documents == ["seen"]


@pytest.mark.parametrize("source", ["", "**/*.txt"])
def test_a_file_that_links_reach_twice_is_read_once(tmp_path, source, caplog):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "sub" / "hard.txt").hardlink_to(tmp_path / "a.txt")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    place = tmp_path / source if source else tmp_path
    assert load_corpus(place).documents == ["one"]
    assert "text files are left out, being a link to another of them" in caplog.text


def test_a_link_to_a_folder_is_followed_also_into_a_hidden_one(tmp_path):
    for name in ("a/.h", ".store", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "t.txt").write_text(name)
    (tmp_path / "texts").mkdir()
    for i, name in enumerate(("a/.h", ".store", "elsewhere")):
        (tmp_path / "texts" / f"{i}").symlink_to(tmp_path / name)
    assert load_corpus(tmp_path / "texts").documents == ["a/.h", ".store", "elsewhere"]
    assert sorted(load_corpus(tmp_path).documents) == [".store", "a/.h", "elsewhere"]


def test_documents_on_both_sides_of_the_split_are_said(caplog):
    corpus = Corpus("twice", ["same text", "other", "same text", "last"])
    train, held_out = split_corpus(corpus, 0.66)
    assert train == ["same text"]
    assert held_out == ["other", "same text", "last"]
    assert caplog.messages == [
        "twice: 1 of 3 held-out documents (9 of 18 characters) are in the part to train on too."
    ]
    caplog.clear()
    split_corpus(Corpus("once", ["a text", "other", "an other", "last"]), 0.5)
    assert not caplog.messages


@given(
    st.lists(
        st.text(st.sampled_from(["a", "\r", *LINE_ENDS[3:], "\n"]), min_size=1, max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_a_document_of_a_jsonl_file_may_hold_any_line_end(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "ends.JSONL"
    path.write_bytes(
        "\r\n\n".join(json.dumps({"text": t}, ensure_ascii=False) for t in texts).encode()
    )
    assert load_corpus(path).documents == texts

"""Sentence pairs in files: what is written comes back, what is wrong is named with its line."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data.pairs import Pair, read_pairs

# no line feeds or tabs, which end a side; not empty, and no white space at the ends, which goes
SIDES = st.text(
    st.characters(exclude_characters="\n\r\t\ufeff", exclude_categories=["Cs"]), min_size=1
).filter(lambda text: text == text.strip())
PAIRS = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=8, unique=True)


def anki(folder, pairs):
    lines = [f"{a}\t{b}" + "\tCC-BY: someone" * (i % 2) for i, (a, b) in enumerate(pairs)]
    path = folder / "anki.txt"
    path.write_bytes("\n".join(lines).encode())
    return path


def anki_export(folder, pairs):
    path = anki(folder, pairs)
    path.write_bytes(b"#separator:tab\n#html:false\n#tags column:3\n" + path.read_bytes())
    return path


def tatoeba(folder, pairs):
    lines = [f"{i}\t{a}\t{i + 7}\t{b}\r\n" for i, (a, b) in enumerate(pairs)]
    path = folder / "tatoeba.TSV"
    path.write_bytes("".join(lines).encode("utf-8-sig"))
    return path


def parallel(folder, pairs):
    paths = folder / "a,b.en", folder / "a,b.de"
    for path, side in zip(paths, zip(*pairs, strict=True), strict=True):
        path.write_bytes("".join(f"{text}\n" for text in side).encode())
    return ",".join(map(str, paths))


def objects(make):
    def write(folder, pairs):
        path = folder / "pairs.jsonl"
        path.write_text("\n".join(json.dumps(make(*pair)) for pair in pairs), "utf-8")
        return path

    return write


FORMATS = {
    "anki": anki,
    "anki with settings": anki_export,
    "tatoeba": tatoeba,
    "parallel": parallel,
    "source and target": objects(lambda a, b: {"target": b, "source": a, "note": "x"}),
    "src and trg": objects(lambda a, b: {"src": a, "trg": b}),
    "translation": objects(lambda a, b: {"id": "1", "translation": {"en": a, "de": b}}),
    "two texts": objects(lambda a, b: {"id": 1, "en": a, "de": b}),
}


@pytest.mark.parametrize("name", FORMATS)
@given(pairs=PAIRS)
def test_pairs_come_back_from_each_format(tmp_path_factory, name, pairs):
    source = FORMATS[name](tmp_path_factory.mktemp("pairs"), pairs)
    assert read_pairs(source).pairs == [Pair(*pair) for pair in pairs]


WRONG = {
    "a.tsv": [
        (b"one\teins\ntwo zwei\n", "line 2: there is no tab; a line must be: source, tab, target"),
        (b"1\tone\t2\teins\n3\ttwo\n", "line 2: 2 columns where there must be 4: id, text, id, text"),
        (b"one\teins\n1\ttwo\t2\tzwei\n", "line 2: 4 columns where there must be 2, or 3 with an attribution"),
        (b"one\teins\n\n\tzwei\n", "line 3: the source is empty"),
        (b"one\t \n", "line 1: the target is empty"),
        (b"\t\n", "line 1: the source is empty"),
        (b"one\teins\ntwo\tzw\xffei\n", "line 2 is not UTF-8: invalid start byte at byte 15"),
        (b"\n \n", " has no pairs"),
    ],
    "a.jsonl": [
        (b'{"source": "a", "target": "b"}\n{"source": "a"}', "line 2: the side 'target' is not there"),
        (b'{"source": "a", "target": 3}', "line 1: the side 'target' must be a text"),
        (b'{"source": "a", "target": " "}', "line 1: the target is empty"),
        (b'{"a": "b"}', "line 1: there is no 'source' and 'target', .*; there is 'a'"),
        (b'{"a": "b"', "line 1 is not JSON"),
        (b"[]", "line 1: a record must be a JSON object, got list"),
    ],
    "a.pdf": [(b"%", r"pairs are read from \.tsv, \.txt, \.jsonl and \.mo files, and from two")],
}  # fmt: skip
CASES = [(name, *case) for name, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(("name", "content", "message"), CASES)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{re.escape(name)}[ :,]*{message}") as caught:
        read_pairs(path)
    assert str(caught.value).count("\n") == 0


def test_parallel_files_must_have_equally_many_lines_and_no_empty_side(tmp_path):
    source, target = tmp_path / "x.en", tmp_path / "x.de"
    source.write_text("one\n\ntwo\nthree\n")
    target.write_text("eins\n\nzwei\n")
    with pytest.raises(
        ValueError, match=r"x\.en, line 4: .*x\.de ends before it, with 3 lines to 4"
    ):
        read_pairs(f"{source},{target}")
    target.write_text("eins\n\n\ndrei\n")
    with pytest.raises(ValueError, match=r"x\.de, line 3: the target is empty"):
        read_pairs(f"{source},{target}")
    target.write_text("eins\n\nzwei\ndrei")
    corpus = read_pairs(f"{source},{target}")
    assert (corpus.name, len(corpus)) == ("x.en", 3)  # both sides of line 2 are empty
    with pytest.raises(FileNotFoundError, match=r"no file y\.de, of the two parallel files"):
        read_pairs(f"{source},y.de")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("date", "no file date, .* did you mean 'dates'"),
        ("numbers:gr", "did you mean 'numbers:.*'"),
        ("gettex:de", "no file gettex:de"),
        ("a.tsv", "There is no file a.tsv"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name, message):
    with pytest.raises(FileNotFoundError, match=message):
        read_pairs(name)


def test_a_file_comes_before_a_task_and_what_is_there_twice_is_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_pairs("reverse").built_in
    path = tmp_path / "twice.tsv"
    path.write_text("a\tb\n a\tb \na\tc\n")
    corpus = read_pairs("twice.tsv")
    assert corpus.pairs == [Pair("a", "b"), Pair("a", "c")]
    assert corpus.left_out.sentences() == [
        "1 record is left out because the same pair stands before: twice.tsv, line 2."
    ]
    assert not corpus.built_in
    assert repr(corpus) == "PairCorpus('twice.tsv', 2 pairs)"


def test_half_a_surrogate_pair_is_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"en": "a", "de": "b"}\n{"en": "a", "de": "\\ud800"}')
    assert [len(c) for c in (read_pairs(path), read_pairs(path).left_out)] == [1, 1]


@given(st.binary(max_size=60), st.sampled_from([".tsv", ".jsonl", ".mo"]))
def test_no_bytes_do_anything_but_be_read_or_refused_in_one_sentence(
    tmp_path_factory, content, ending
):
    path = tmp_path_factory.mktemp("bytes") / f"any{ending}"
    path.write_bytes(content)
    said = ""
    try:
        assert read_pairs(path).pairs
    except ValueError as error:
        said = str(error)
    assert not said or (path.name in said and "\n" not in said)

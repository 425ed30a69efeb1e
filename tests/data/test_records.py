"""Files of records, and the standard library's docstrings."""

import csv
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data import docstrings
from npgpt.data.records import Record, name_field, read_records, text_field

ROWS = [{"label": "ham", "text": 'see, "you"'}, {"label": "spam", "text": "win\nnow"}]


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def test_the_four_kinds_of_files_hold_the_same_records(tmp_path):
    csv = write(tmp_path / "a.csv", 'label,text\nham,"see, ""you"""\nspam,"win\nnow"\n')
    jsonl = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS) + "\n")
    json_file = write(tmp_path / "a.json", json.dumps(ROWS))
    for path in (csv, jsonl, json_file):
        assert [record.fields for record in read_records(path, ["text", "label"])] == ROWS


@pytest.mark.parametrize("name", ["SMSSpamCollection", "sms.tsv"])
def test_the_form_of_the_uci_spam_collection_has_no_header_and_no_quotes(tmp_path, name):
    path = write(tmp_path / name, 'ham\tHe said "hi\nspam\tWin £1000\r\n')
    found = [record.fields for record in read_records(path, ["text", "label"])]
    assert found == [
        {"label": "ham", "text": 'He said "hi'},
        {"label": "spam", "text": "Win £1000"},
    ]


def test_a_table_of_tabs_may_have_a_header(tmp_path):
    path = write(tmp_path / "a.tsv", "text\tlabel\nhello\tham\n")
    assert read_records(path, ["text", "label"])[0].fields == {"text": "hello", "label": "ham"}


BAD = [
    ("a.csv", "text,label\nhello\n", r"a.csv, row 2: 1 columns where there must be 2"),
    ("a.csv", "text,kind\nhello,ham\n", r"a.csv, row 2: there is no 'label'; there is 'text', 'kind'"),
    ("a.csv", 'text,label\n"hello,ham\n', r"a.csv, row 2: unexpected end of data"),
    ("a.csv", "", "has no records"),
    ("a.csv", "text,label\n", "has no records"),
    ("a.jsonl", '{"text": "a", "label": "b"}\n{oops\n', r"a.jsonl, line 2 is not JSON"),
    ("a.jsonl", "[1]\n", r"line 1: a record must be a JSON object, got list"),
    ("a.jsonl", '{"text": "a"}\n', r"line 1: there is no 'label'"),
    ("a.csv", "text;label\nhello;ham\n", "between semicolons, where there must be commas"),
    ("a.csv", "text\tlabel\nhello\tham\n", "between tabs, where there must be commas"),
    ("a.tsv", "text,label\nhello,ham\n", "between commas, where there must be tabs"),
    ("a.csv", "text,label,text\na,b,c\n", "row 1: two columns have the name 'text'"),
    ("a.json", "{}", "must hold a list"),
    ("a.json", '{"data": [{"text": "a", "label": "b"}]}', "what is at 'data' to a file of its own"),
    ("a.json", '{"text": "a"}\n{"text": "b"}\n', r"Extra data in line 2; .* has the ending .jsonl"),
    ("a.jsonl", "[" * 100_000, r"line 1 is not JSON"),
    ("a.json", "[", "is not JSON"),
    ("a.txt", "hello", "records are read from"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_a_file_that_does_not_fit_is_refused_with_the_row(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_records(write(tmp_path / name, content), ["text", "label"])


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\nhall\xf6,a\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_records(path)


@pytest.mark.parametrize(
    ("value", "message"), [("  ", "is empty"), (3, "got int"), (None, "no 't'")]
)
def test_a_field_must_be_a_text(tmp_path, value, message):
    path = write(tmp_path / "a.jsonl", json.dumps({"t": value}) + "\n")
    with pytest.raises(ValueError, match=rf"line 1: .*{message}"):
        text_field(read_records(path)[0], "t")


@pytest.fixture(scope="module")
def packages():
    return docstrings.package_records()


def modules_by_part(records):
    parts = {}
    for record in records:
        parts.setdefault(record.fields["split"], set()).add(record.where)
    return parts


@pytest.mark.slow
def test_no_module_and_no_text_is_in_two_parts(packages):
    for records in (
        packages,
        docstrings.instruction_records(),
        docstrings.preference_records(),
    ):
        parts = modules_by_part(records)
        assert set(parts) == {"train", "validation", "test"}
        assert sum(map(len, parts.values())) == len(set().union(*parts.values()))
    texts = [record.fields["text"] for record in packages]
    assert len(texts) == len(set(texts))


def test_held_out_parts_have_as_many_of_each_package(packages):
    for part in ("validation", "test"):
        labels = [r.fields["label"] for r in packages if r.fields["split"] == part]
        assert len({labels.count(label) for label in labels}) == 1
        assert len(set(labels)) == docstrings.NUM_PACKAGES


def test_built_in_instructions_fit_into_a_small_context():
    longest = max(len(r.fields["input"]) for r in docstrings.instruction_records())
    assert longest <= docstrings.LONGEST_SIGNATURE


def test_a_rejected_line_is_the_chosen_one_of_another_function_of_the_module():
    pairs = docstrings.preference_records()
    assert pairs == docstrings.preference_records()
    instructions = {
        (r.where, r.fields["input"], r.fields["output"]): r.fields["split"]
        for r in docstrings.instruction_records()
    }
    lines = {(where, output) for where, _, output in instructions}
    for where, fields in pairs:
        assert instructions[where, fields["input"], fields["chosen"]] == fields["split"]
        assert (where, fields["rejected"]) in lines
        assert fields["chosen"] != fields["rejected"]
    rejected = [(where, fields["rejected"]) for where, fields in pairs]
    chosen = [(where, fields["chosen"]) for where, fields in pairs]
    # what is chosen is rejected as often, so the line itself tells nothing
    assert sorted(rejected) == sorted(chosen)


def test_modules_are_split_by_their_names_alone():
    sizes = {f"module{i}": 10 for i in range(40)}
    parts = docstrings.split_modules(sizes)
    assert docstrings.split_modules(dict(reversed(sizes.items()))) == parts
    counts = [list(parts.values()).count(part) for part in ("test", "validation", "train")]
    assert counts == [6, 6, 28]


# every character at which str.splitlines cuts, and what a careless reader takes for an end
LINE_ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
CELLS = st.text(
    st.sampled_from([*"ab,;\t\"'\x00\ufeff é", *LINE_ENDS[:2], *LINE_ENDS[3:]]), max_size=8
)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_a_csv_field_may_hold_any_character(tmp_path_factory, rows, end):
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    if sys.version_info < (3, 11):
        rows = [tuple(cell.replace("\x00", "") for cell in row) for row in rows]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end).writerows(
            [("text", "label"), *rows]
        )
    assert [tuple(r.fields.values()) for r in read_records(path, ["text", "label"])] == rows


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4),
    st.sampled_from([".json", ".jsonl", ".JSONL"]),
    st.booleans(),
)
def test_a_json_field_may_hold_any_character(tmp_path_factory, rows, ending, escaped):
    path = tmp_path_factory.getbasetemp() / f"cells{ending}"
    objects = [{"text": text, "label": label} for text, label in rows]
    lines = [json.dumps(each, ensure_ascii=escaped) for each in objects]
    content = f"[{','.join(lines)}]" if ending == ".json" else "\n\r\n".join(lines)
    path.write_bytes(content.encode())
    assert [r.fields for r in read_records(path, ["text", "label"])] == objects


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4))
def test_a_field_between_tabs_may_hold_any_character_but_tabs_and_line_ends(tmp_path_factory, rows):
    rows = [tuple(re.sub("[\t\r\n\x00]", "", cell) for cell in row) for row in rows]
    path = tmp_path_factory.getbasetemp() / "cells.TSV"
    lines = ["text\tlabel", *("\t".join(row) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode())
    assert [tuple(r.fields.values()) for r in read_records(path, ["text", "label"])] == rows


def recased(name):
    """Draw a name with its letters in any case."""
    choices = [st.sampled_from([c.lower(), c.upper()]) for c in name]
    return st.tuples(*choices).map("".join)


@given(st.sampled_from([".csv", ".tsv", ".json", ".jsonl"]).flatmap(recased))
def test_capitals_in_an_ending_do_not_matter(tmp_path_factory, ending):
    contents = {
        ".csv": "text,label\na,b\n",
        ".tsv": "text\tlabel\na\tb\n",
        ".json": '[{"text": "a", "label": "b"}]',
        ".jsonl": '{"text": "a", "label": "b"}\n',
    }
    path = write(tmp_path_factory.getbasetemp() / f"case{ending}", contents[ending.lower()])
    assert [r.fields for r in read_records(path, ["text", "label"])] == [
        {"text": "a", "label": "b"}
    ]


def test_a_field_may_be_long_and_the_limit_of_others_stays(tmp_path):
    before = csv.field_size_limit()
    path = write(tmp_path / "a.csv", f"text,label\n{'x' * 200_000},b\n")
    assert len(read_records(path)[0].fields["text"]) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("text", ["    return 1\n", "\ta", " \r\n x \r\n", "\ufeffa", "a\u2028"])
def test_a_text_is_kept_exactly(text):
    assert text_field(Record("row 1", {"t": text}), "t") == text
    assert name_field(Record("row 1", {"t": text}), "t") == text.strip()


def test_a_table_without_the_header_that_is_asked_for_says_so(tmp_path, caplog):
    read_records(
        write(tmp_path / "a.tsv", "review\tsentiment\ngood\tpos\nbad\tneg\n"), ["text", "label"]
    )
    assert "a.tsv has no header with 'text' and 'label'" in caplog.text
    caplog.clear()
    read_records(write(tmp_path / "b.tsv", "ham\thi\nspam\twin\nham\tho\n"), ["text", "label"])
    assert not caplog.text

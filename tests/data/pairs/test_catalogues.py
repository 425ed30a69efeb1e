"""Pairs of the machine's catalogues of messages."""

import logging
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data.pairs import Pair, read_pairs
from npgpt.data.pairs.placeholders import with_numbers, without_accelerators
from tests.data.pairs.catalogue import HEADER, write_catalogue

MESSAGES = {
    "%s of %d\n": "%2$d von %1$s\n",
    "Open %(name)s": "%(name)s öffnen",
    "menu\x04_Quit": "_Beenden",
    "%d file\0%d files": "%d Datei\0%d Dateien",
    "a\tb  c": "a b c d",
    "Two\nlines": "Zwei\nZeilen",
    "Bugzilla": "Bugzilla",
    "untranslated": "",
    "no %s": "kein",
    "translator-credits": "Someone",
    "%d%%": "%d %%",
    "\x07bell": "\x07Glocke",
    "Verb|Open": "Öffnen",
}
PAIRS = {
    ("{1} of {2}", "{2} von {1}"),
    ("Open {1}", "{1} öffnen"),
    ("Quit", "Beenden"),
    ("{1} file", "{1} Datei"),
    ("a b c", "a b c d"),
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a catalogue of German."""
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path / 'none'}:{tmp_path}")
    monkeypatch.setattr("sys.base_prefix", str(tmp_path / "python"))
    folder = tmp_path / "locale" / "de" / "LC_MESSAGES"
    write_catalogue(folder / "program.mo", MESSAGES)
    return folder


def test_messages_become_pairs_and_what_is_left_out_is_counted(machine):
    corpus = read_pairs("gettext:de")
    assert {(p.source, p.target) for p in corpus.pairs} == PAIRS
    assert len(corpus) == len(PAIRS)
    assert corpus.name == "gettext:de"
    reasons = set(corpus.left_out.places)
    assert reasons == {
        "a side has several lines",
        "the translation is the same text",
        "the sides have other placeholders",
        "the source holds no word",
        "a side holds control characters",
        "a context stands before the source",
    }
    alone = read_pairs(machine / "program.mo")
    assert alone.pairs == corpus.pairs


def test_of_several_translations_the_most_frequent_is_taken(machine):
    for name, target in (("a", "Abbruch"), ("b", "Abbrechen"), ("c", "Abbrechen")):
        write_catalogue(machine / f"{name}.mo", {"Cancel": target})
    assert Pair("Cancel", "Abbrechen") in read_pairs("gettext:de").pairs
    assert len(read_pairs("gettext:de")) == len(PAIRS) + 1


def test_a_language_with_one_plural_form_has_that_for_one(machine):
    header = HEADER.replace("nplurals=2; plural=(n != 1)", "nplurals=1; plural=0")
    write_catalogue(machine / "ja.mo", {"%d file\0%d files": "%d ファイル"}, header)
    assert read_pairs(machine / "ja.mo").pairs == [Pair("{1} file", "{1} ファイル")]


@given(st.data())
def test_a_catalogue_cut_anywhere_is_refused_in_one_sentence(tmp_path_factory, data):
    path = write_catalogue(tmp_path_factory.mktemp("cut") / "cut.mo", MESSAGES)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=r"cut\.mo is not a whole catalogue of gettext: .+\.$"):
        read_pairs(path)


@given(st.integers(0), st.integers(0, 255))
def test_a_catalogue_with_a_wrong_byte_is_read_or_refused_in_one_sentence(
    tmp_path_factory, place, byte
):
    path = write_catalogue(tmp_path_factory.mktemp("wrong") / "wrong.mo", MESSAGES)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    said = ""
    try:
        assert read_pairs(path).pairs
    except ValueError as error:
        said = str(error)
    assert not said or "wrong.mo" in said


WORDS = st.text(string.ascii_letters + "äßé -.", min_size=1).map(lambda t: " ".join(t.split()))
SENTENCES = WORDS.filter(lambda text: any(map(str.isalpha, text)))


@given(st.dictionaries(SENTENCES, SENTENCES, min_size=1))
def test_sentences_come_back_from_a_catalogue(tmp_path_factory, messages):
    translated = {source: target for source, target in messages.items() if source != target}
    path = write_catalogue(tmp_path_factory.mktemp("drawn") / "drawn.mo", messages)
    if translated:
        pairs = read_pairs(path).pairs
        assert {pair.source: pair.target for pair in pairs} == translated
        assert len(pairs) == len(translated)


def test_one_that_is_damaged_is_left_out_of_the_machines_and_named(machine, caplog):
    (machine / "cut.mo").write_bytes((machine / "program.mo").read_bytes()[:200])
    with caplog.at_level(logging.WARNING):
        assert len(read_pairs("gettext:de")) == len(PAIRS)
    assert "cut.mo is not a whole catalogue of gettext" in caplog.text
    assert caplog.text.rstrip().endswith("It is left out.")


def test_an_unknown_language_gets_the_nearest(machine):
    write_catalogue(machine.parents[1] / "pt_BR" / "LC_MESSAGES" / "a.mo", MESSAGES)
    with pytest.raises(
        ValueError, match=r"no catalogue of the language 'pt_RB' in .*; did you mean 'pt_BR'"
    ):
        read_pairs("gettext:pt_RB")
    for name in ("", "*", "../locale/de"):
        with pytest.raises(ValueError, match="there is no catalogue of the language"):
            read_pairs(f"gettext:{name}")


@pytest.mark.parametrize(
    ("source", "target", "written"),
    [
        ("%-5.2f s", "%.3f Sek.", ("{1} s", "{1} Sek.")),
        ("%s: %lu", "%s: %lu", ("{1}: {2}", "{1}: {2}")),
        ("{0} of {1}", "{1}: {0}", ("{1} of {2}", "{2}: {1}")),
        ("{} {}", "{} {}", ("{1} {2}", "{1} {2}")),
        ("${name} %{other}", "%{other} ${name}", ("{1} {2}", "{2} {1}")),
        ("%(a)s %(b)d %(a)s", "%(b)d %(a)s", ("{1} {2} {1}", "{2} {1}")),
        ("%s: %m", "%s: %m", ("{1}: {2}", "{1}: {2}")),
        ("%<PRIu64> bytes", "%<PRIu64> Byte", ("{1} bytes", "{1} Byte")),
        ("50% of it", "50% davon", ("50% of it", "50% davon")),
        ("%s", "%s %s", None),
        ("%(a)s", "%(b)s", None),
    ],
)  # fmt: skip
def test_placeholders_are_numbered_as_the_source_has_them(source, target, written):
    assert with_numbers(source, target) == written


@given(st.permutations(range(4)))
def test_placeholders_find_their_place_in_any_order(order):
    source = " ".join("%s" for _ in order)
    target = " ".join(f"%{i + 1}$s" for i in order)
    numbers = " ".join(f"{{{i + 1}}}" for i in order)
    assert with_numbers(source, target) == ("{1} {2} {3} {4}", numbers)


@pytest.mark.parametrize(
    ("source", "target", "shown"),
    [
        ("&File", "&Datei", ("File", "Datei")),
        ("Save _As…", "Speichern _unter…", ("Save As…", "Speichern unter…")),
        ("&Save (&now)", "&Sichern", ("&Save (&now)", "&Sichern")),
        ("AT&T", "AT&T", ("AT&T", "AT&T")),
        ("&lt;b&gt;", "&lt;c&gt;", ("&lt;b&gt;", "&lt;c&gt;")),
        ("__init__", "__init__ x", ("__init__", "__init__ x")),
        ("E_xit", "終了(_X)", ("Exit", "終了")),
        ("Set 'LC_ALL'.", "LC_ALL setzen", ("Set 'LC_ALL'.", "LC_ALL setzen")),
        ("plain", "einfach", ("plain", "einfach")),
    ],
)  # fmt: skip
def test_accelerators_go_and_names_stay(source, target, shown):
    assert without_accelerators(source, target) == shown


@given(st.text(string.ascii_letters, min_size=1), st.data())
def test_an_accelerator_before_any_letter_goes(word, data):
    place = data.draw(st.integers(0, len(word) - 1))
    mark = data.draw(st.sampled_from("_&"))
    marked = word[:place] + mark + word[place:]
    assert without_accelerators(marked, f"{mark}Ü") == (word, "Ü")

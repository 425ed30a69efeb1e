"""Texts on a screen and in a pipe: no markup, any encoding, no escape sequences, status kept."""

import ast
import encodings.aliases
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.panel import Panel
from typer.testing import CliRunner

import npgpt
from npgpt.cli import app
from npgpt.cli.shared import console as consoles
from npgpt.cli.shared.console import TextConsole, escaped, prepare_streams, write_pieces
from npgpt.cli.shared.tables import make_table, plain_table
from npgpt.files import quoted
from tests.hub.folders import saved

MARKUP = [
    "[/INST]", "[bold]", "list[int]", "[/ham]", "[red]x[/red]", "[[x]]", "\\[x]", "[/]", ":cat:",
    "[link=http://x]", "[@click=f]", "$_$", "[", "]",
]  # fmt: skip
texts = (
    st.lists(
        st.sampled_from(MARKUP)
        | st.text(st.characters(exclude_categories=["C", "Z", "M"]), max_size=4),
        min_size=1,
        max_size=4,
    )
    .map("".join)
    .filter(bool)
)


def printed(thing, **options):
    out = TextConsole(file=io.StringIO(), width=500, **options)
    out.print(thing(out) if callable(thing) else thing)
    return out.file.getvalue()


@given(texts)
def test_a_text_is_printed_as_it_is(text):
    assert printed(text) == f"{text}\n"
    assert printed(lambda out: out.styled(text, rest=text)) == f"{text}{text}\n"
    assert printed(lambda out: Panel(out.plain(text))).count(text) == 1


@given(texts)
def test_cells_titles_and_headers_are_texts(text):
    table = make_table(text, text, text)
    table.add_row(text, text)
    plain = plain_table()
    plain.add_row(text, text)
    assert printed(table).count(text) >= 5
    assert printed(plain).count(text) >= 2


@given(texts)
def test_what_is_being_done_is_a_text(text):
    out = TextConsole(file=io.StringIO(), width=500, force_terminal=True, color_system=None)
    with out.status(text):
        pass
    assert text in out.file.getvalue()


def test_nothing_of_the_command_line_gives_rich_a_text_that_it_reads_as_markup():
    """Consoles are `TextConsole`, and what reads markup even there is given a `Text`."""
    for path in sorted(Path(npgpt.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "rich.console":
                assert path.name == "console.py", path
            if not isinstance(node, ast.Call):
                continue
            where = f"{path}:{node.lineno}"
            name = (
                node.func.attr
                if isinstance(node.func, ast.Attribute)
                else getattr(node.func, "id", "")
            )
            given_names = {word.arg for word in node.keywords}
            assert name != "from_markup", where
            if name == "TextColumn" and "{" in ast.unparse(node):
                assert "markup" in given_names, where
            if name == "Panel":
                assert isinstance(node.args[0], ast.Name), where  # not a string made in place
                assert all(isinstance(w.value, ast.Constant) for w in node.keywords), where


@pytest.mark.parametrize("backend", ["help", "error"])
@given(text=texts)
def test_help_and_usage_errors_show_texts_as_they_are(backend, text):
    import dataclasses

    from npgpt.cli.shared.options import usage_errors, with_options
    from npgpt.fields import option

    @dataclasses.dataclass
    class Config:
        __doc__ = f"""A config.

        Parameters
        ----------
        size : int
            Of the {text.replace("`", "").replace(":cat:", "cat")} here.
        """
        size: int = option(default=1)

        def __post_init__(self):
            if self.size > 1:
                raise ValueError(f"size of {text} here is too large.")

    made = typer.Typer(rich_markup_mode="rich")

    @made.command()
    @with_options(Config)
    def draw(**settings_):
        with usage_errors():
            Config(**settings_)

    text = text.replace(":cat:", "cat")  # typer has codes for emoji, in its own texts alone
    env = {"COLUMNS": "400"}
    result = CliRunner().invoke(made, ["--help"] if backend == "help" else ["--size=2"], env=env)
    assert f"{text.replace('`', '') if backend == 'help' else text} here" in result.output


# --- encodings ------------------------------------------------------------------------------------


def accepted():
    names = {*encodings.aliases.aliases.values(), "utf_8_sig", "idna", "punycode", "unicode_escape"}
    for name in sorted(names):
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=name)
        except LookupError:
            continue
        yield name


@pytest.mark.parametrize("encoding", [*accepted()])
def test_every_encoding_takes_every_text(encoding, monkeypatch):
    text = "\ufffd █ ╭─│ é 漢 \ud800 \udcff \u2028 🐱 \x1b\x85\n"
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, name, stream)
    prepare_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.write(text)
        stream.write("abc")
        stream.flush()
        assert stream.buffer.getvalue()


def test_what_an_encoding_lacks_is_seen_and_frames_are_ascii(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    prepare_streams()
    sys.stdout.write("é\ufffd ██ ╭─╮│")
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b"\\xe9\\ufffd ## +-+|"


def test_an_error_handler_that_was_chosen_stays(monkeypatch):
    chosen = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="ignore")
    monkeypatch.setattr(sys, "stdout", chosen)
    prepare_streams()
    assert chosen.errors == "ignore"


# --- terminals ------------------------------------------------------------------------------------


@given(st.text(max_size=20))
def test_no_control_character_reaches_a_terminal(text):
    shown = escaped(text)
    for character in shown.replace("\r\n", "\n"):
        assert character in "\n\t" or not (character < " " or "\x7f" <= character <= "\x9f")
        assert character not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    assert (
        printed(text.replace("\t", ""), force_terminal=True, color_system=None).count("\x1b") == 0
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_pieces_are_escaped_at_a_terminal_and_left_alone_in_a_pipe(monkeypatch):
    pieces = ["a\x1b[2J", "b\r", "\nc\r", "d"]
    for stream, expected in (
        (Terminal(), "a\\x1b[2Jb\r\nc\\x0dd"),
        (io.StringIO(), "a\x1b[2Jb\r\nc\rd"),
    ):
        monkeypatch.setattr(sys, "stdout", stream)
        assert list(write_pieces(pieces)) == pieces
        assert stream.getvalue() == expected


# --- commands to paste ----------------------------------------------------------------------------


@given(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8
    )
)
@settings(max_examples=15)
def test_a_quoted_path_is_one_word_of_a_shell(name):
    written = quoted(name)
    shown = subprocess.run(
        ["bash", "-c", f"printf %s {written}"], capture_output=True, check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout.decode()  # fmt: skip
    assert shown == (f"./{name}" if name.startswith("-") else name)
    assert escaped(written) == written
    if name.replace("\n", "").replace("\t", "").isprintable():
        assert shlex.split(f"x {written}", comments=False)[1:] == [shown]


def test_every_command_that_is_printed_is_quoted():
    """A path in a command for the user goes through `quoted`."""
    for path in sorted(Path(npgpt.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.JoinedStr):
                continue
            for before, value in zip(node.values, node.values[1:], strict=False):
                is_command = isinstance(before, ast.Constant) and before.value.endswith((
                    "npgpt train ", "npgpt train --resume ", "npgpt generate ", "npgpt chat ",
                    "npgpt classify ", "npgpt info ", "npgpt eval ", "--resume ", "--out ",
                ))  # fmt: skip
                if is_command and isinstance(value, ast.FormattedValue):
                    assert ast.unparse(value.value).startswith("quoted("), f"{path}:{node.lineno}"


# --- whole commands -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console")
    saved(folder / "hf", context_length=64)
    (folder / "text.txt").write_text("the cat sat on the mat. " * 30, encoding="utf-8")
    return folder


SELDOM = ("ascii", "latin-1", "utf-16", "cp037", "idna")


@pytest.mark.parametrize(
    "encoding", ["cp1252", *(pytest.param(name, marks=pytest.mark.slow) for name in SELDOM)]
)
def test_generate_writes_in_any_encoding(folder, encoding):
    result = subprocess.run(
        [sys.executable, "-m", "npgpt", "generate", "hf", "the", "--temperature=3", "--seed=1"],
        cwd=folder, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize(
    "name", ["[v2] book", "a 'b' \"c\"", "$HOME; x", "-n", "é漢", "two\nlines", ":cat: [/x]"]
)
def test_the_last_line_of_a_training_can_be_pasted(folder, name, monkeypatch):
    monkeypatch.chdir(folder)
    small = [
        "--steps=1",
        "--n-layers=1",
        "--d-model=8",
        "--n-heads=1",
        "--context-length=8",
        "--tokenizer=char",
    ]
    result = CliRunner().invoke(app, ["train", "text.txt", *small, f"--out={name}"])
    assert result.exit_code == 0, result.output
    words = shlex.split(result.stdout.rpartition("Next: ")[2])
    assert words[:2] == ["npgpt", "generate"]
    assert Path(words[2]).resolve() == (folder / name).resolve()
    assert f"Run folder: {name}" in result.stdout
    assert CliRunner().invoke(app, words[1:]).exit_code == 0
    again = CliRunner().invoke(app, ["train", "text.txt", *small, f"--out={name}"])
    assert again.exit_code == 1
    assert quoted(name) in again.stderr
    assert (folder / name / "loss.png").is_file()


@pytest.mark.parametrize("has_rouge", [True, False])
def test_responses_and_labels_with_brackets_are_kept_and_shown(folder, monkeypatch, has_rouge):
    if has_rouge:
        pytest.importorskip("rouge_score", reason="ROUGE-L needs the extra 'rouge'")
    else:
        monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    folder = folder / f"rouge-{has_rouge}"
    folder.mkdir()
    shutil.copytree(folder.parent / "hf", folder / "hf")
    monkeypatch.chdir(folder)
    records = [{"instruction": f"Count [{i}]", "output": "list[int] [/INST]"} for i in range(12)]
    (folder / "i.json").write_text(json.dumps(records), encoding="utf-8")
    options = ["--epochs=1", "--template=chat"]
    result = CliRunner().invoke(
        app, ["finetune", "instruct", "hf", "--data=i.json", *options, "--samples=1", "--out=[i]"]
    )
    assert result.exit_code == 0, result.output
    assert "list[int] [/INST]" in result.stdout
    assert ("pip install" in result.stdout) == (not has_rouge)
    (line,) = (folder / "[i]" / "responses.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["expected"] == "list[int] [/INST]"
    rows = "".join(f"the cat {i},[/ham]\nthe dog {i},$_$ [bold]\n" for i in range(10))
    (folder / "l.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    result = CliRunner().invoke(
        app, ["finetune", "classify", "hf", "--data=l.csv", "--epochs=1", "--out=c"]
    )
    assert result.exit_code == 0, result.output
    assert "[/ham]" in result.stdout
    assert (folder / "c" / "confusion.png").is_file()
    for words in (["classify", "c", "the cat"], ["info", "c"]):
        shown = CliRunner(charset="cp1252").invoke(app, words)
        assert shown.exit_code == 0, shown.output
        assert "[/ham]" in shown.stdout
        assert "$_$ [bold]" in shown.stdout
    assert "#" in CliRunner(charset="ascii").invoke(app, ["classify", "c", "the cat"]).stdout


def test_a_picture_that_cannot_be_drawn_costs_a_note(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def fails(*arguments):
        raise ValueError("no ink")

    monkeypatch.setattr("npgpt.plots.training.plot_loss", fails)
    small = [
        "--steps=1",
        "--n-layers=1",
        "--d-model=8",
        "--n-heads=1",
        "--context-length=8",
        "--tokenizer=char",
    ]
    result = CliRunner().invoke(app, ["train", "text.txt", *small, "--out=unseen"])
    assert result.exit_code == 0, result.output
    assert "Note: unseen/loss.png could not be drawn (no ink)." in result.stderr
    assert "Loss curve" not in result.stdout


def test_ctrl_c_anywhere_has_the_status_of_an_interruption(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("npgpt.cli.shared.arguments.open_argument", interrupted)
    monkeypatch.setattr("npgpt.cli.generate.open_argument", interrupted)
    assert CliRunner().invoke(app, ["generate", "x"]).exit_code == 130
    monkeypatch.setattr("typer.core.TyperGroup.resolve_command", interrupted)
    assert CliRunner().invoke(app, ["info"]).exit_code == 130
    assert consoles.console.is_terminal is False

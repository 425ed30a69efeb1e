"""Options at the edge of their range: they follow their definition, or are refused in a sentence."""

import os
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from npgpt.cli import app
from tests.hub.folders import saved

NUMBERS = [
    "0",
    "-1",
    "1",
    "nan",
    "inf",
    "-inf",
    "1e300",
    "1e-300",
    "5e-324",
    str(2**63),
    str(10**26),
]
NAMES = [
    "",
    ".",
    "..",
    "/",
    "x" * 300,
    "a\0b",
    " ",
    "\n",
    "[/x]",
    "$_$",
    "\ud800",
    "\x1b[31m",
    "é漢",
]
# what each command is asked beside the option that is tried; what it would do is not done
BASES = {
    ("train",): ["text.txt"],
    ("tokenize",): ["text.txt"],
    ("generate",): ["hf", "the"],
    ("chat",): ["hf"],
    ("eval",): ["hf", "text.txt"],
    ("fill",): ["bert", "the [MASK]"],
    ("embed",): ["bert", "the cat"],
    ("memory",): ["124M"],
    ("flow",): ["hf", "text.txt"],
    ("data", "show"): ["text.txt"],
    ("experiment", "vanishing-gradients"): ["--depths=1", "--d-model=8"],
    ("experiment", "positions"): ["text.txt"],
    ("experiment", "language-models"): ["text.txt"],
    ("experiment", "gradient-by-distance"): ["text.txt"],
    ("experiment", "memory"): [],
    ("finetune", "classify"): ["hf"],
    ("finetune", "instruct"): ["hf"],
    ("finetune", "dpo"): ["hf"],
}
# where a command has read its options and goes to work
DOORS = [
    "npgpt.runs.pretraining.open_source", "npgpt.cli.generate.open_argument", "npgpt.cli.chat.open_argument",
    "npgpt.cli.evaluate.open_argument", "npgpt.cli.fill.open_bert_argument", "npgpt.cli.embed.open_bert_argument", "npgpt.cli.flow.open_argument", "npgpt.cli.data.open_source",
    "npgpt.data.StreamedCorpus", "npgpt.cli.shared.progress.compile_kernels", "npgpt.cli.memory._size_of_libraries",
    "npgpt.experiments.compare_positions", "npgpt.runs.finetuning.open_model",
    "npgpt.experiments.vanishing_gradients", "npgpt.experiments.compare_language_models",
    "npgpt.experiments.compare_gradients", "npgpt.experiments.memory.configs_of_equal_size",
]  # fmt: skip


class AtWork(Exception):
    """The options were taken."""


COMMANDS = typer.main.get_command(app)  # made once: it takes longer than a refusal


def options(path):
    command = COMMANDS
    for name in path:
        command = command.commands[name]
    return [
        p for p in command.params if p.opts[0].startswith("--") and not getattr(p, "is_flag", False)
    ]


def kind_of(parameter):
    annotation = str(parameter.type_descriptor.annotation)
    if "bool" in annotation:
        return None
    return "number" if "int" in annotation or "float" in annotation else "name"


CASES = [(path, p.opts[0], kind_of(p)) for path in BASES for p in options(path) if kind_of(p)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edges")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 30, encoding="utf-8")
    saved(folder / "hf", context_length=64)
    return folder


@pytest.fixture
def at_the_door(folder, monkeypatch):
    def stops(*arguments, **settings_):
        raise AtWork

    monkeypatch.chdir(folder)
    monkeypatch.setattr("typer.testing._get_command", lambda app: COMMANDS)
    for door in DOORS:
        monkeypatch.setattr(door, stops)


def check(path, option, value, one_may=True):
    result = CliRunner().invoke(app, [*path, *BASES[path], f"{option}={value}"])
    if isinstance(result.exception, AtWork):
        return
    assert result.exception is None or isinstance(result.exception, SystemExit), (option, value)
    assert result.exit_code in ((0, 1, 2) if one_may else (0, 2)), (option, value, result.output)
    if result.exit_code:
        assert result.stderr.strip(), (option, value)
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("path", "option"), [case[:2] for case in CASES if case[2] == "number"])
def test_a_number_is_taken_or_refused_as_a_usage_error(at_the_door, path, option):
    for value in NUMBERS:
        check(path, option, value, one_may=option == "--step")  # of a run, which this is not


@pytest.mark.parametrize(("path", "option"), [case[:2] for case in CASES if case[2] == "name"])
def test_a_name_is_taken_or_refused_in_a_sentence(at_the_door, path, option):
    for value in NAMES:
        check(path, option, value)


@given(
    st.floats(0, 1e30) | st.sampled_from([0.0, 5e-324, 1e-300]),
    st.none() | st.integers(1, 10**18),
    st.none() | st.floats(0, 1, exclude_min=True),
    st.floats(0, 1e30, exclude_min=True),
    st.integers(0, 10**18),
    st.integers(0, 3),
)
@settings(max_examples=15)
def test_every_choice_within_its_range_generates(
    folder, temperature, top_k, top_p, penalty, seed, tokens
):
    given_ = [f"--temperature={temperature}", f"--repetition-penalty={penalty}", f"--seed={seed}"]
    given_ += [f"--top-k={top_k}"] * (top_k is not None) + [f"--top-p={top_p}"] * (
        top_p is not None
    )
    before = os.getcwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(
            app, ["generate", "hf", "the", *given_, f"--max-new-tokens={tokens}"]
        )
    finally:
        os.chdir(before)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (["--top-p=0"], "top_p must be above 0 and at most 1"),
        (["--temperature=inf"], "temperature must be a finite number"),
        (["--temperature=nan"], "--temperature"),
        (["--stop="], "--stop must have at least one character"),
        (["--num-beams=0"], "--num-beams"),
        (["--seed=-1"], "--seed"),
        (["--max-new-tokens=-1"], "--max-new-tokens"),
        (["--num-beams=99999999999999999999999999"], "a number is too large"),
    ],
)
def test_what_is_out_of_range_is_a_usage_error_that_says_so(folder, monkeypatch, given_, message):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["generate", "hf", "the", *given_], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.stderr


def test_no_token_is_asked_for_with_any_number_of_beams(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for beams in ("1", "3"):
        asked = ["generate", "hf", "the", "--max-new-tokens=0", f"--num-beams={beams}"]
        assert CliRunner().invoke(app, asked).stdout == "the\n"
    assert not Path("runs").exists()

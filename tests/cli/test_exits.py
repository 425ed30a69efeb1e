"""Interruptions, closed streams and failing pictures: nothing is lost, and no traceback."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

import npgpt as package
from npgpt.cli import app
from npgpt.interruption import INTERRUPTED
from tests.hub.folders import saved

LATIN = "a\u00e9t\u00e9".encode("latin-1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exits")
    saved(folder / "hf")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    questions = ("question,answer\n" + "".join(f"the {n},cat\n" for n in range(4))).encode()
    (folder / "q.csv").write_bytes(questions)
    return folder


# --- Ctrl-C while the libraries load ----------------------------------------------------------------

IMPORTS = """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == WHERE:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
"""


WHERE = [
    ("module", "numpy"), ("module", "npgpt.data"), ("module", "typer"), ("script", "npgpt.layers"),
    ("script", "npgpt.cli.train"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "where"), WHERE)
def test_ctrl_c_while_libraries_load_is_a_line_and_a_status(tmp_path, command, where):
    (tmp_path / "sitecustomize.py").write_text(IMPORTS.replace("WHERE", repr(where)))
    (tmp_path / "bin").mkdir()
    script = "from npgpt.cli import main\nmain()\n"
    (tmp_path / "bin" / "npgpt").write_text(script)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    result = subprocess.run(
        [sys.executable, *(["bin/npgpt"] if command == "script" else ["-m", "npgpt"]), "info"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert (result.returncode, result.stderr.strip()) == (INTERRUPTED, "Interrupted.")


def test_ctrl_c_in_a_program_that_imports_npgpt_is_the_programs_own():
    code = (
        "import signal, npgpt, npgpt.cli\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("command", ["flow", "eval", "train"])
def test_ctrl_c_while_kernels_load_ends_the_command(folder, monkeypatch, command):
    count = package.GPT.num_targets

    def interrupted(self, *batch):
        signal.raise_signal(signal.SIGINT)
        return count(self, *batch)

    monkeypatch.chdir(folder)
    monkeypatch.setattr(package.GPT, "num_targets", interrupted)
    words = (
        ["text.txt", "--steps=1", "--tokenizer=char", "--context-length=8", "--out=not"]
        if command == "train"
        else ["hf", "text.txt"]
    )
    result = CliRunner().invoke(app, [command, *words])
    assert (result.exit_code, result.stderr) == (INTERRUPTED, "\nInterrupted.\n")


# --- streams that are closed, or of another encoding ------------------------------------------------

CLOSED = {
    "generate": (["generate", "hf", "-", "--max-new-tokens", "1"], 0),
    "chat": (["chat", "hf"], 0),
    "tokenize": (["tokenize", "-"], 1),
    "version": (["--version"], 0),
    "info": (["info", "hf"], 0),
    "mistake": (["info", "nowhere"], 1),
    "usage": (["info", "--wrong"], 2),
}


OFTEN = ("generate", "version")  # in the plain suite; the others are slow


@pytest.mark.parametrize(
    "case",
    [case if case in OFTEN else pytest.param(case, marks=pytest.mark.slow) for case in CLOSED],
)
def test_closed_streams_cost_no_traceback(folder, case):
    words, status = CLOSED[case]
    for closed in ("<&-", "<&- >&- 2>&-"):
        line = f'"{sys.executable}" -m npgpt "$@" {closed}'
        result = subprocess.run(
            ["sh", "-c", line, "sh", *words],
            cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert result.returncode == status, result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("command", "locale"),
    [
        (["generate", "hf", "-"], {"LC_ALL": "C.UTF-8"}),
        (["chat", "hf"], {"LC_ALL": "C"}),
        (["trace", "-", "--model=hf"], {"PYTHONUTF8": "1"}),
    ],
)
def test_standard_input_of_another_encoding_is_named(folder, command, locale):
    result = subprocess.run(
        [sys.executable, "-m", "npgpt", *command],
        cwd=folder, input=LATIN, capture_output=True, timeout=60, check=False,
        env=os.environ | locale,
    )  # fmt: skip
    assert result.returncode == 1
    assert b"error: standard input is not utf-8 text" in result.stderr.lower()
    assert b"PYTHONIOENCODING" in result.stderr
    assert b"Traceback" not in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
@pytest.mark.parametrize("command", [["--help"], ["generate", "--help"], ["info", "hf"]])
def test_a_full_disk_is_told_in_a_sentence(folder, command):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "npgpt", *command],
            cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("Error: [Errno 28]")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("columns", ["0", "1", "5", "30", "47"])
@pytest.mark.parametrize(
    "words", [["info", "hf"], ["memory", "hf"], ["tokenize", "text.txt", "--steps=3"]]
)
def test_a_narrow_screen_cuts_nothing_off(folder, monkeypatch, columns, words):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    wide = CliRunner().invoke(app, words).stdout
    monkeypatch.setenv("COLUMNS", columns)
    narrow = CliRunner().invoke(app, words).stdout
    assert "\u2026" not in narrow
    changing = set("0123456789.,") if words[0] == "memory" else set()
    for letter in set(wide) - set(" \n") - changing:
        assert narrow.count(letter) >= wide.count(letter)


# --- pictures ---------------------------------------------------------------------------------------

DRAWINGS = {
    "flow": (["flow", "hf", "text.txt"], "npgpt.plots.flow.plot_flow", "layer"),
    "eval": (["eval", "hf", "--task=q.csv", "--shots=0"], "npgpt.plots.training.plot_few_shot", "accuracy"),
    "vanishing": (
        ["experiment", "vanishing-gradients", "--depths=2", "--d-model=8"],
        "npgpt.plots.experiments.plot_vanishing_gradients",
        "blocks",
    ),
    "positions": (
        ["experiment", "positions", "text.txt", "--kinds=alibi", "--steps=1", "--context-length=8",
         "--longer=16", "--n-layers=1", "--n-heads=1", "--d-model=8"],
        "npgpt.plots.experiments.plot_positions",
        "alibi",
    ),
    "language models": (
        ["experiment", "language-models", "text.txt", "--models=rnn", "--seconds=0.01",
         "--context-length=8", "--parameters=999"],
        "npgpt.plots.experiments.plot_language_models",
        "tokens/s",
    ),
    "gradient by distance": (
        ["experiment", "gradient-by-distance", "text.txt", "--models=rnn", "--steps=1",
         "--context-length=8", "--d-model=4", "--distance=7"],
        "npgpt.plots.experiments.plot_gradients",
        "share at 7",
    ),
    "memory": (
        ["experiment", "memory", "--models=rnn", "--distances=1", "--steps=1", "--parameters=99"],
        "npgpt.plots.experiments.plot_memories",
        "recall-mixed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
@pytest.mark.parametrize("case", DRAWINGS)
def test_a_result_is_printed_before_it_is_drawn(folder, monkeypatch, case, as_json):
    monkeypatch.chdir(folder)
    words, plot, shown = DRAWINGS[case]

    def fails(*arguments):
        raise KeyError("no ink")

    monkeypatch.setattr(plot, fails)
    result = CliRunner().invoke(app, [*words, "--plot=p.png", *(["--json"] if as_json else [])])
    assert result.exit_code == 1
    assert "Error: p.png could not be drawn" in result.stderr
    assert "Plot:" not in result.stdout
    if as_json:
        assert json.loads(result.stdout)
    else:
        assert shown in result.stdout


def test_an_experiment_that_is_stopped_shows_what_it_found(monkeypatch):
    def stops(done, total):
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("npgpt.cli.shared.progress.progress_bar", lambda *_: nullcontext(stops))
    words = ["experiment", "memory", "--models=rnn,gru", "--tasks=copy", "--steps=2", "--json"]
    result = CliRunner().invoke(app, [*words, "--distances=1", "--parameters=99"])
    assert result.exit_code == 130
    assert [(r["model"], r["steps"]) for r in json.loads(result.stdout)] == [("rnn", 2)]


def test_a_prediction_is_printed_also_if_the_measurement_fails(folder, monkeypatch):
    def fails(*arguments):
        raise MemoryError("all of it")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("npgpt.cli.memory._measured", fails)
    result = CliRunner().invoke(app, ["memory", "hf", "--measure"])
    assert result.exit_code == 1
    assert "peak, predicted" in result.stdout

"""npgpt trace, in this process."""

import os
import re

import pytest
from typer.testing import CliRunner

from npgpt.cli import app
from npgpt.runs import Run
from tests.runs.tiny_run import tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run."""
    folder = tmp_path_factory.mktemp("trace")
    Run.create(folder / "run", tiny_config(folder, steps=2, eval_every=2)).trainer().fit()
    return folder


@pytest.fixture
def trace(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    for page in folder.glob("*.html"):
        page.unlink()
    return lambda *arguments, **options: CliRunner().invoke(app, ["trace", *arguments], **options)


def test_names_are_listed_with_shapes(trace):
    small, of_run = trace("--names"), trace("--names", "--model=run")
    assert re.search(
        r"^blocks\.1\.attention\.weights +\(batch, 4, time, time\)$", small.stdout, re.M
    )
    assert re.search(r"^blocks\.0\.attention\.q +\(batch, 2, time, 8\)$", of_run.stdout, re.M)
    assert "blocks.1" not in of_run.stdout


def test_a_page_is_written_and_not_replaced_unasked(trace, folder):
    arguments = ("the cat", "--model=run", "--out=page.html", "--steps=4")
    first = trace(*arguments)
    assert first.exit_code == 0, first.output
    assert re.match(
        r"page\.html: 7 tokens, mean loss \d\.\d{3} nats, heat maps of 1 of 1", first.stdout
    )
    page = (folder / "page.html").read_bytes()
    assert page.startswith(b"<!DOCTYPE html>")
    assert b"npgpt trace of run" in page
    refused = trace(*arguments)
    assert refused.exit_code == 1
    assert "page.html exists already" in refused.output
    assert (folder / "page.html").read_bytes() == page
    assert trace("the dog", *arguments[1:], "--force").exit_code == 0
    assert (folder / "page.html").read_bytes() != page


def test_a_text_is_read_from_standard_input_and_a_token_is_explained(trace, folder):
    result = trace(
        "-", "--model=run", "--layers=none", "--token=a", "--position=1", "--steps=1", input="dog"
    )
    assert "trace.html: 3 tokens" in result.stdout
    assert "heat maps of 0 of 1 layers" in result.stdout
    assert "After position 1" in (folder / "trace.html").read_text(encoding="utf-8")


BAD = {
    "a text longer than the context": (["the cat the cat"], 1, "the text has 15 tokens, but the model's context is 8"),
    "an empty text": ([""], 1, "the text is empty"),
    "a single token": (["t"], 1, "'t' is a single token"),
    "a character that the model does not know": (["a§"], 1, "the character '§' at position 1"),
    "a model that is not there": (["ab", "--model=nowhere"], 1, "There is no folder nowhere"),
    "no text": ([], 2, "give a TEXT to trace, or --names"),
    "a text and --names": (["the", "--names"], 2, "either a TEXT or --names"),
    "a layer that is not there": (["the", "--layers=0,1"], 1, "there is no layer 1"),
    "layers that are no numbers": (["the", "--layers=first"], 2, "--layers must be numbers"),
    "a token that is several": (["the", "--token=th"], 1, "'th' is 2 tokens of this model"),
    "a position that is not there": (["the", "--position=3"], 1, "position 3 is outside 0 to 2"),
    "a page in no folder": (["the", "--out=no/page.html"], 1, "There is no folder no"),
    "an unknown checkpoint": (["the", "--checkpoint=first"], 2, "must be best or last"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_traced_is_one_sentence_and_writes_nothing(trace, folder, case):
    arguments, status, message = BAD[case]
    model = [] if "--model=nowhere" in arguments else ["--model=run"]
    before = sorted(os.listdir(folder))
    result = trace(*arguments, *model)
    assert result.exit_code == status, result.output
    assert message in result.output
    assert sorted(os.listdir(folder)) == before


def test_a_trace_needs_a_model(trace):
    result = trace("the cat")
    assert result.exit_code == 2
    assert "give a model: --model MODEL" in result.output

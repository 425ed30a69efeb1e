"""The page on the rungs names the tables that a choice stands in; all that it says reads them does."""

import dataclasses
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import npgpt
from npgpt.cli import app
from npgpt.fields import option_of

ROOT = Path(npgpt.__file__).parent.parent
PAGE = next(ROOT.glob("docs/**/rungs/index.md")).read_text(encoding="utf-8")
TABLES = dict(re.findall(r"`([A-Z_]+)` in\s+`(npgpt/\S+\.py)`", PAGE))
FIELDS = {"POSITIONS": "position", "NORMS": "norm", "ACTIVATIONS": "activation"}
FIELD = {field.name: field for field in dataclasses.fields(npgpt.GPTConfig)}


def words_of(table):
    module = TABLES[table].removesuffix(".py").replace("/", ".")
    return [*getattr(importlib.import_module(module), table)]


def test_the_page_names_the_table_of_every_choice():
    assert TABLES.keys() == FIELDS.keys()


@pytest.mark.parametrize("table", FIELDS)
def test_the_config_and_the_command_line_know_what_the_table_holds_and_no_more(table):
    name, words = FIELDS[table], words_of(table)
    assert [*option_of(FIELD[name]).choices] == words
    help_text = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "1000"}).output
    (line,) = (
        line for line in help_text.splitlines() if line.lstrip("│ ").startswith(f"--{name} ")
    )
    assert set(words) <= set(re.findall(r"\w+", line))
    refused = CliRunner().invoke(app, ["train", f"--{name}=another"], env={"COLUMNS": "1000"})
    assert refused.exit_code == 2
    assert f"{name} must be one of {', '.join(words)}, got 'another'" in refused.output


@pytest.mark.parametrize(
    ("name", "word"), [(name, word) for table, name in FIELDS.items() for word in words_of(table)]
)
def test_a_model_of_every_word_learns(name, word):
    config = npgpt.GPTConfig(7, 4, n_layers=1, n_heads=2, d_model=8, **{name: word})
    model = npgpt.GPT(config)
    ids = np.array([[1, 2, 3, 4]])
    model.loss_and_backward(ids, ids)
    assert all(np.isfinite(parameter.grad).all() for parameter in model.parameters())

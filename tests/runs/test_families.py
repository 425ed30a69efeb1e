"""Runs of the families that are no GPT: trained, stopped, resumed, opened, refused where due."""

import json
import subprocess
import sys

import numpy as np
import pytest

from npgpt.models import MODELS
from npgpt.runs import Run, open_model
from npgpt.runs.pretraining import PretrainingRun
from tests.runs.tiny_run import tiny_config

KINDS = ["rnn", "gru", "lstm", "conv"]
kinds = pytest.mark.parametrize("kind", KINDS)


def trained(folder, kind, **changes):
    run = Run.create(folder / "run", tiny_config(folder, model=kind, **changes))
    run.trainer().fit()
    return run


@kinds
def test_a_run_is_trained_kept_and_opened(kind, tmp_path):
    run = trained(tmp_path, kind, steps=40)
    losses = [line["loss"] for line in run.metrics if line["kind"] == "evaluation"]
    assert losses[-1] < losses[0] - 0.5
    settings = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert settings["training"]["model"] == kind
    opened = open_model(run.folder)
    assert type(opened.model) is MODELS[kind]
    ids = opened.tokenizer.encode("the cat")
    np.testing.assert_array_equal(
        opened.model.generate(ids, 30, seed=1), run.load_model().generate(ids, 30, seed=1)
    )


@kinds
def test_a_run_that_is_resumed_goes_on_bit_for_bit(kind, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = trained(tmp_path / "whole", kind)
    first = Run.create(tmp_path / "parts" / "run", tiny_config(tmp_path / "parts", model=kind))
    trainer = first.trainer()
    trainer.steps = 8  # an evaluation and a checkpoint
    trainer.fit()
    rest = PretrainingRun.open(first.folder).trainer()
    rest.resume()
    assert 0 < rest.state.step < 12
    rest.fit()
    weights = [run.load_model("last").state_dict() for run in (whole, first)]
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])


def npgpt(*arguments, cwd):
    command = [sys.executable, "-m", "npgpt", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.slow
@kinds
def test_commands_take_it(kind, tmp_path):
    """Train, describe, measure, write, and what only a GPT can do is one sentence."""
    tiny_config(tmp_path)  # writes the text
    options = [
        "--tokenizer",
        "char",
        "--context-length",
        "8",
        "--d-model",
        "8",
        "--steps",
        "6",
        "--eval-batches",
        "2",
    ]
    result = npgpt("train", "text.txt", "--model", kind, *options, "--out", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for command in (
        ["info", "run"],
        ["eval", "run"],
        ["generate", "run", "the", "--max-new-tokens", "20"],
        ["generate", "run", "the", "--max-new-tokens", "5", "--num-beams", "2"],
        ["flow", "run"],
        ["trace", "--names", "--model", "run"],
        ["memory", "run"],
        ["trace", "the cat", "--model", "run", "--out", "trace.html"],
        ["gradcheck", "--layer", MODELS[kind].__name__],
    ):
        result = npgpt(*command, cwd=tmp_path)
        assert result.returncode == 0, (command, result.stderr)
    for command in (
        ["finetune", "classify", "run"],
        ["generate", "run", "the", "--dtype", "int8"],
        ["eval", "run", "--dtype", "int8"],
        ["train", "text.txt", "--model", kind, "--n-heads", "2"],
        ["train", "text.txt", "--model", kind, "--recompute"],
    ):
        result = npgpt(*command, cwd=tmp_path)
        assert result.returncode in (1, 2), command
        assert "Traceback" not in result.stderr, (command, result.stderr)

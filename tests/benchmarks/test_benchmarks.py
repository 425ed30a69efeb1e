"""The benchmarks' own arithmetic, and that each part runs. No test looks at how long it took."""

import importlib.util
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from benchmarks import llmc, machine, report
from benchmarks.__main__ import app
from benchmarks.scaling import straight_line
from benchmarks.steps import step_flops
from benchmarks.workers import repetitions_for

TABLES_ONLY = ("listening", "loading")  # parts that draw nothing
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="the other side is PyTorch (extra bench)"
)
LLMC_OUTPUT = """[GPT-2]
max_seq_len: 1024
val loss 5.325531
step 0: train loss 4.677779 (took 5987.266000 ms)
step 1: train loss 5.191576 (took 5539.174000 ms)
generating:
---
step 2: train loss 4.438688 (took 5531.5 ms)
"""


def test_a_ratio_is_taken_within_each_round():
    assert report.ratios([1.0, 2.0], [2.0, 6.0]) == [2.0, 3.0]
    assert report.with_spread([2.0, 2.0, 2.0]) == "2.00 (2.00 to 2.00)"


def test_sides_that_do_different_work_are_refused():
    report.check_equal("same", {"a": 1.0, "b": 1.0001})
    with pytest.raises(RuntimeError, match="other: the sides do not do the same work"):
        report.check_equal("other", {"a": 1.0, "b": 1.1})


def test_a_steps_multiplications_are_six_a_weight_and_token():
    config = {"d_model": 16, "n_layers": 2, "vocab_size": 100}
    weights = 2 * 12 * 16 * 16 + 100 * 16
    attention = 12.0 * 2 * 16 * 4 / 2  # 2 products of 8 / 2 keys, forward once and back twice
    assert step_flops(config, 3, 4) == 3 * 4 * (6.0 * weights + attention)


def test_a_straight_line_is_found_and_what_leaves_it_is_noticed():
    slope, intercept, deviation = straight_line({1.0: 5.0, 2.0: 8.0, 4.0: 14.0})
    assert (slope, intercept, deviation) == pytest.approx((3.0, 2.0, 0.0), abs=1e-9)
    assert straight_line({1.0: 1.0, 2.0: 4.0, 4.0: 16.0})[2] > 0.1


def test_short_work_is_repeated_within_a_turn():
    assert repetitions_for(0.01, at_least=0.1) == 10
    assert repetitions_for(5.0) == 1


def test_the_machines_limits_are_positive():
    limits = machine.measure(quick=True)
    assert limits.sgemm > 0
    assert limits.bandwidth > 0


def fake_llmc(folder, output, status=0):
    program = folder / "train_gpt2"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}END\nexit {status}\n")
    program.chmod(0o755)
    return program


def test_the_steps_of_llmc_are_read_from_what_it_prints(tmp_path):
    assert llmc.steps_in(LLMC_OUTPUT) == pytest.approx([5.987266, 5.539174, 5.5315])
    assert llmc.run(fake_llmc(tmp_path, LLMC_OUTPUT)) == pytest.approx([5.539174, 5.5315])


def test_an_llmc_that_fails_is_named_with_its_last_line(tmp_path):
    program = fake_llmc(tmp_path, "Error: no gpt2_124M.bin\n", status=1)
    with pytest.raises(RuntimeError, match=r"status 1 and 0 steps.*Error: no gpt2_124M.bin"):
        llmc.run(program)
    with pytest.raises(RuntimeError, match="could not be run"):
        llmc.run(tmp_path / "nothing")


def test_without_a_part_the_parts_are_listed():
    result = CliRunner().invoke(app, [])
    for part in ("train", "attention", "layers", "memory", "scaling", "shakespeare"):
        assert part in result.output


def test_without_pytorch_a_part_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["layers", "--quick"])
    assert result.exit_code == 1
    assert "pip install 'npgpt[bench]'" in result.output


def test_npgpts_side_of_the_shakespeare_run_alone(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 120)
    arguments = ["shakespeare", str(text), "--no-torch", "--quick", "--out", str(tmp_path / "out")]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    saved = json.loads((tmp_path / "out" / "shakespeare.json").read_text())
    losses = [e["loss"] for e in saved["results"]["runs"]["npgpt_run"][0]["evaluations"]]
    assert losses[-1] < losses[0]


@pytest.mark.skipif(
    importlib.util.find_spec("tiktoken") is None, reason="the other side is tiktoken (extra bench)"
)
def test_tokenizers_are_measured_on_the_same_work(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", "tokenizers", "--quick", "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    saved = json.loads((tmp_path / "tokenizers.json").read_text())["results"]
    assert saved["stream"]["peak_memory"] > 0
    assert set(saved["tasks"]["encode"]) == {"npgpt", "tiktoken", "tokenizers"}


@needs_torch
@pytest.mark.parametrize(
    "part",
    [
        "train",
        "attention",
        "layers",
        "memory",
        "recurrent",
        "scaling",
        "listening",
        "decode",
        "loading",
    ],
)
def test_a_part_measures_both_sides_and_saves_what_it_found(part, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", part, "--quick", "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / f"{part}.json").read_text())["results"]
    if part not in TABLES_ONLY:
        assert list(tmp_path.glob(f"{part}*.png"))


def test_what_is_trained_is_compared_and_saved(tmp_path):
    arguments = ["finetune", "--quick", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    saved = json.loads((tmp_path / "finetune.json").read_text())["results"][0]
    assert set(saved["peak_memory"]) == {"full", "lora", "lora, attention", "last-block"}

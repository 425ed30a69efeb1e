"""Runs that learn masked words: the masks, the accuracy, resumed bit for bit, and what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

from npgpt.data import continuing_pieces, mask_id_of
from npgpt.evaluation.masked import evaluate_masked, frequency_accuracy
from npgpt.models import Bert
from npgpt.runs import Run, open_model
from npgpt.runs.pretraining import PretrainingRun
from tests.runs.tiny_run import tiny_config

CHANGES = {"model": "bert", "tokenizer": "bpe", "vocab_size": 258, "n_heads": 2}  # no merges


def made(folder, **changes):
    return Run.create(folder / "run", tiny_config(folder, **{**CHANGES, **changes}))


def test_a_run_learns_and_its_accuracy_is_on_masks_that_are_always_the_same(tmp_path):
    run = made(tmp_path, steps=40, eval_every=20, eval_batches=0, context_length=16)
    run.trainer().fit()
    evaluations = [line for line in run.metrics if line["kind"] == "evaluation"]
    assert evaluations[-1]["loss"] < evaluations[0]["loss"] - 1.0
    model, batches = run.load_model(), run.held_out_batches()
    assert type(model) is Bert
    found, again = (evaluate_masked(model, made) for made in (batches, run.held_out_batches()))
    best = [line for line in evaluations if line["best"]][-1]
    assert found == again
    assert found.accuracy == best["scores"]["accuracy"]
    assert found.loss == pytest.approx(best["loss"], rel=1e-6)
    guess = frequency_accuracy(run.windows[0].ids, batches)
    targets = np.concatenate([targets[targets >= 0] for _, targets in batches])
    assert guess == np.mean(targets == np.bincount(run.windows[0].ids).argmax())
    assert len(targets) == found.words


def test_masks_are_the_tokenizers_and_no_special_token_is_asked_for(tmp_path):
    run = made(tmp_path)
    mask, end = mask_id_of(run.tokenizer), run.tokenizer.end_of_text_id
    for inputs, targets in run.train_loader():
        asked = targets != -100
        assert (asked.sum(axis=1) == 1).all()  # 15 % of 8
        assert not np.isin(targets[asked], [mask, end]).any()
        assert not (inputs[~asked] == mask).any()


def test_the_masks_are_drawn_as_the_settings_say(tmp_path):
    run = made(tmp_path, mask_probability=0.5, masking="bernoulli", whole_words=True)
    for examples in PretrainingRun.open(run.folder).examples:
        assert (examples.probability, examples.masking) == (0.5, "bernoulli")
        np.testing.assert_array_equal(examples.continuing, continuing_pieces(run.tokenizer))
    counts = [(targets != -100).sum() for _, targets in run.train_loader()]
    assert np.mean(counts) / (4 * 8) > 0.35


@pytest.mark.parametrize("masks", [{}, {"masking": "bernoulli", "mask_probability": 0.3}])
def test_a_run_that_is_resumed_goes_on_bit_for_bit(tmp_path, masks):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, parts = made(tmp_path / "whole", **masks), made(tmp_path / "parts", **masks)
    whole.trainer().fit()
    trainer = parts.trainer()
    trainer.steps = 8  # an evaluation and a checkpoint
    trainer.fit()
    rest = PretrainingRun.open(parts.folder).trainer()
    rest.resume()
    assert 0 < rest.state.step < 12
    rest.fit()
    ours, theirs = (run.load_model("last").state_dict() for run in (whole, parts))
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


@pytest.mark.parametrize("tokenizer", ["char", "word"])
def test_a_tokenizer_without_a_mask_is_refused_and_nothing_is_written(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"has no token \[MASK\].*--tokenizer wordpiece or bpe"):
        made(tmp_path, tokenizer=tokenizer)
    assert not (tmp_path / "run").exists()


def test_it_writes_no_text(tmp_path):
    run = made(tmp_path, steps=4)
    run.trainer().fit()
    with pytest.raises(ValueError, match="holds a Bert, which writes no text"):
        open_model(run.folder)


def npgpt(*arguments, cwd):
    command = [sys.executable, "-m", "npgpt", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_commands_take_it_or_refuse_it_in_a_sentence(tmp_path):
    tiny_config(tmp_path)  # writes the text
    shape = ["--vocab-size", "258", "--context-length", "8", "--d-model", "8"]
    steps = ["--steps", "6", "--eval-batches", "2"]
    result = npgpt(
        "train", "text.txt", "--model", "bert", *shape, *steps, "--gradient-flow", "3",
        "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Next: npgpt fill run" in result.stdout
    for command in (
        ["info", "run"],
        ["flow", "run", "--step", "3"],
        ["fill", "run", "the [MASK] sat"],
        ["embed", "run", "the cat", "the mat"],
        ["eval", "run", "text.txt", "--pseudo-perplexity", "--limit", "5"],
    ):
        result = npgpt(*command, cwd=tmp_path)
        assert result.returncode == 0, (command, result.stderr)
    result = npgpt("eval", "run", "--json", cwd=tmp_path)
    numbers = json.loads(result.stdout)
    assert numbers["masked_words"] > 0
    assert 0 <= numbers["commonest_word"] <= 1
    for command in (
        ["generate", "run", "the"],
        ["eval", "run", "text.txt", "--stride", "4"],
        ["trace", "the cat", "--model", "run", "--out", "trace.html"],
        ["finetune", "classify", "run"],
        ["train", "text.txt", "--model", "bert", "--tokenizer", "char", "--out", "other"],
    ):
        result = npgpt(*command, cwd=tmp_path)
        assert result.returncode in (1, 2), command
        assert "Traceback" not in result.stderr, (command, result.stderr)

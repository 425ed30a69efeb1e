"""Runs with --bptt: stopped and resumed, evaluated in between, refused in a sentence."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from npgpt.cli import app
from npgpt.data import DataLoader, TokenStreams
from npgpt.generation import Sampling
from npgpt.runs import Run
from npgpt.training import Callback, Trainer, load_checkpoint
from npgpt.training.trainer import LAST
from tests.runs.tiny_run import tiny_config
from tests.training.test_trainer import StopAt, assert_same_weights, losses, weights

KINDS = ["rnn", "gru", "lstm"]
SHORT = {"context_length": 64, "bptt": 64}  # an epoch is 11 pieces: it ends within the run


def run_in(folder, kind="lstm", **changes):
    folder.mkdir(exist_ok=True)
    return Run.create(folder / "run", tiny_config(folder, model=kind, **{**SHORT, **changes}))


def trained(run, *callbacks):
    trainer = run.trainer(callbacks)
    trainer.fit()
    return trainer


class Writes(Callback):
    """Let the model write at each evaluation, as a terminal shows it."""

    def on_evaluation(self, trainer, metrics):
        list(trainer.model.stream(np.array([1]), 3, Sampling(seed=0)))


@pytest.mark.parametrize(
    ("kind", "stop", "grad_accumulation"),
    [("lstm", 1, 1), ("gru", 5, 1), ("rnn", 11, 1), ("lstm", 5, 2), ("gru", 6, 3)],
)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    tmp_path, kind, stop, grad_accumulation
):
    whole = run_in(tmp_path / "whole", kind, grad_accumulation=grad_accumulation)
    uninterrupted = trained(whole)
    parts = run_in(tmp_path / "parts", kind, grad_accumulation=grad_accumulation)
    assert trained(parts, StopAt(stop)).state.step == stop
    rest = Run.open(parts.folder).trainer()
    rest.resume()
    rest.fit()
    assert_same_weights(weights(uninterrupted), weights(rest))
    assert losses(whole) == losses(parts)
    ours, theirs = (load_checkpoint(run.folder / LAST) for run in (whole, parts))
    assert_same_weights(ours[0], theirs[0])
    assert ours[1] == theirs[1]
    assert "carried.h" in ours[0]


def test_what_happens_between_steps_leaves_training_as_it_is(tmp_path):
    """Evaluations, texts that are written, and measurements of the flow."""
    seldom = trained(run_in(tmp_path / "seldom", eval_every=12))
    often = run_in(tmp_path / "often", eval_every=1, gradient_flow=1)
    assert_same_weights(weights(seldom), weights(trained(often, Writes())))


def test_batches_that_are_read_ahead_are_the_same(tmp_path):
    run = run_in(tmp_path, dropout=0.0)
    found = []
    for prefetch in (0, 3):
        model = run.new_model()
        loader = DataLoader(run.windows[0], 4, prefetch=prefetch)
        Trainer(model, loader, run.held_out_batches(), steps=13, eval_every=2).fit()
        found.append(model.state_dict())
    assert_same_weights(*found)


def test_the_held_out_loss_is_that_of_streams_read_as_whole_texts(tmp_path):
    run = run_in(tmp_path, eval_batches=0)
    trainer = trained(run)
    model, streams = trainer.model, run.windows[1]
    rows = streams.num_streams
    inputs, targets, _ = TokenStreams(streams.ids, rows, (len(streams.ids) - 1) // rows).batch(
        range(rows)
    )
    with model.evaluating():
        expected = model.evaluation_loss(inputs, targets)
    assert trainer.history[-1].loss == pytest.approx(float(expected), rel=1e-5)
    assert model.carried_state()["h"].shape == (1, 4, 16)
    assert model.carried_state()["h"].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_and_pieces_of_one_token_train(tmp_path, kind):
    run = run_in(tmp_path, kind, batch_size=1, bptt=1, context_length=1, steps=2, eval_every=2)
    assert trained(run).state.step == 2


def test_a_held_out_part_that_is_short_is_read_in_fewer_streams(tmp_path):
    run = run_in(tmp_path, bptt=128, context_length=128)
    assert [part.num_streams for part in run.windows] == [4, 2]
    assert len(run.held_out_batches()) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 50}, "training part of text.txt has 2808 tokens, .* 50 x 64 need .* 3201"),
        ({"bptt": 400, "context_length": 400}, "held-out part .* has 312 .* 1 x 400 need .* 401"),
        ({"bptt": 4000, "context_length": 4000}, "training part .* 4 x 4000 need at least 16001"),
    ],
)
def test_a_text_that_is_too_short_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run_in(tmp_path, **changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", [{"bptt": 63, "context_length": 63}, {"bptt": None}])
def test_a_run_cannot_go_on_with_another_length(tmp_path, settings):
    run = run_in(tmp_path, steps=1)
    trained(run)
    path = run.folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["training"] |= settings
    content["model"] |= {"context_length": content["training"]["context_length"]}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"last\.safetensors does not fit this run: DataLoader"):
        Run.open(run.folder).trainer().resume()


@pytest.mark.parametrize(
    "options",
    [
        ["--model=lstm", "--bptt=0"],
        ["--bptt=8"],
        ["--model=conv", "--bptt=8"],
        ["--model=gru", "--bptt=8", "--stride=2"],
        ["--model=gru", "--bptt=8", "--context-length=9"],
        ["--model=gru", "--forget-bias=1"],
        ["--model=lstm", "--kernel=2"],
        ["--model=lstm", "--n-heads=2"],
        ["--model=lstm", "--context-length=0"],
        ["--resume=somewhere", "--bptt=8"],
    ],
)
def test_options_that_contradict_each_other_end_in_a_sentence(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["train", *options])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []

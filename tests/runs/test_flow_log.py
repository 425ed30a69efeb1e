"""The gradient flow that training measures."""

import dataclasses
import signal

import numpy as np
import pytest

from npgpt.runs import Run
from npgpt.runs.flow_log import GradientFlowLog
from npgpt.training import load_checkpoint
from tests.runs.tiny_run import tiny_config
from tests.training.test_trainer import StopAt


def run_in(tmp_path, name, **changes):
    config = dataclasses.replace(tiny_config(tmp_path), steps=12, dropout=0.1, **changes)
    return Run.create(tmp_path / name, config)


@pytest.mark.parametrize("grad_accumulation", [1, 2])
def test_measuring_does_not_change_the_run(tmp_path, grad_accumulation):
    plain = run_in(tmp_path, "plain", grad_accumulation=grad_accumulation)
    plain.trainer().fit()
    watched = run_in(tmp_path, "watched", grad_accumulation=grad_accumulation, gradient_flow=3)
    watched.trainer().fit()
    one, _ = load_checkpoint(plain.folder / "last.safetensors")
    other, _ = load_checkpoint(watched.folder / "last.safetensors")
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array)
    assert [flow.step for flow in watched.flows] == [1, 3, 6, 9, 12]
    assert plain.flows == []


def test_every_number_is_there_from_the_second_measurement_on(tmp_path):
    run = run_in(tmp_path, "run", gradient_flow=1)
    run.trainer().fit()
    first, *others = run.flows
    assert len(others) == 11
    assert all(row.grad_cosine is None for row in first.parameters)
    for flow in others:
        for row in flow.parameters:
            assert row.update_ratio > 0
            assert -1 <= row.grad_cosine <= 1
        for row in flow.activations:
            assert row.rms > 0
            assert row.grad_norm > 0


def test_the_gradients_of_the_rows_are_the_gradient_norm_of_the_step(tmp_path):
    run = run_in(tmp_path, "run", gradient_flow=4, grad_accumulation=2)
    run.trainer().fit()
    norms = {line["step"]: line["grad_norm"] for line in run.metrics if line["kind"] == "step"}
    for flow in run.flows:
        total = np.sqrt(sum(row.grad_norm**2 for row in flow.parameters))
        assert total == pytest.approx(norms[flow.step], rel=1e-5)


def test_a_resumed_run_tells_one_story(tmp_path):
    whole = run_in(tmp_path, "whole", gradient_flow=4)
    whole.trainer().fit()
    run = run_in(tmp_path, "cut", gradient_flow=4)
    run.trainer([StopAt(6, signal.SIGINT)]).fit()
    trainer = Run.open(run.folder).trainer()
    trainer.resume()
    trainer.fit()
    assert run.flows == whole.flows


def test_nobody_listens_after_a_step_that_failed(tmp_path):
    run = run_in(tmp_path, "run", gradient_flow=1)
    trainer = run.trainer()
    trainer.model.final_norm.gamma.value[...] = np.nan
    with pytest.raises(RuntimeError, match="training cannot go on"):
        trainer.fit()
    assert trainer.model.listener is None


def test_every_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        GradientFlowLog(tmp_path / "flow.jsonl", 0)

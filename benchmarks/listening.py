"""What it costs that layers name their arrays: nobody listening, gradient flow, recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.train import CASES, Case
from benchmarks.workers import take_turns, workers

EVERY = 50  # steps from one measurement of the gradient flow to the next
ALONE, NO_TAPS, FLOW, RECORD = "nobody listens", "no taps at all", "gradient flow", "record all"
NAMES = ("4 layers, d_model 128 12x64", "124M 4x256")


def listening(
    rounds: Annotated[int | None, typer.Option(min=1, help="Instead of each case's own.")] = None,
    quick: Annotated[bool, typer.Option(help="The small model only, in three rounds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Time training steps that somebody, or nobody, listens to.

    Beside the step as it is: the same step with the taps taken out of the layers; a step whose
    gradient flow is measured; one of which every activation and gradient is recorded.
    """
    machine = limits.measure(quick)
    report.console.print(str(machine))
    results, rows = [], []
    for case in (case for case in CASES if case.name in (NAMES[:1] if quick else NAMES)):
        with report.console.status(f"Measuring {case.name}"):
            seconds = _measure(case, rounds or (3 if quick else 2 * case.rounds))
        results.append({"case": case.name, "seconds": seconds})
        longer = {
            name: [100 * (ratio - 1) for ratio in report.ratios(seconds[ALONE], seconds[name])]
            for name in seconds
        }
        flow = [percent / EVERY for percent in longer[FLOW]]
        row = [*(longer[name] for name in (NO_TAPS, FLOW, RECORD)), flow]
        rows.append([case.name, *map(report.with_spread, row)])
    columns = ["case", "without taps", "flow, each step", "recording all", f"flow, 1 in {EVERY}"]
    report.print_table("Time of a step beside that of the usual one, in %", columns, rows)
    report.save("listening", machine, results, out)


def _measure(case: Case, rounds: int) -> dict[str, list[float]]:
    arguments = {"config": case.config, "batch": case.batch, "time": case.time}
    sides = {
        name: ("benchmarks.listening:step_with", {**arguments, "listener": name})
        for name in (ALONE, NO_TAPS, FLOW, RECORD)
    }
    with workers(sides) as started:
        return take_turns(started, rounds, case.repetitions)


def step_with(config: dict[str, Any], batch: int, time: int, listener: str) -> Callable[[], float]:
    """Make a training step, heard by one kind of listener."""
    from benchmarks.steps import CLIP_NORM, npgpt_side
    from npgpt.gradients import FlowMeter, record
    from npgpt.training import train_step

    if listener == NO_TAPS:
        _take_out_taps()
    model, optimizer, chosen = npgpt_side(config, batch, time)

    def usual() -> float:
        return train_step(model, optimizer, [chosen], CLIP_NORM)[0]

    def recorded() -> float:
        with record(model, max_bytes=1 << 34):
            return usual()

    meter = FlowMeter(model)

    def read() -> None:  # what GradientFlowLog does over two steps
        meter.remember_gradients()
        meter.read_gradients()
        meter.remember_weights()

    def measured() -> float:
        with meter.activations():
            loss, _ = train_step(model, optimizer, [chosen], CLIP_NORM, read)
        meter.read_updates()
        meter.flow().to_dict()
        return loss

    return {RECORD: recorded, FLOW: measured}.get(listener, usual)


def _take_out_taps() -> None:
    from npgpt.layers import Layer

    unheard = {
        "tap": lambda layer, name, array: array,
        "tap_grad": lambda layer, name, array: array,
        "is_listened_to": lambda layer, *names: False,
    }
    for name, method in unheard.items():
        setattr(Layer, name, method)

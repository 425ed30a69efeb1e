"""Whole training steps, side by side: npgpt, PyTorch eager, torch.compile."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.steps import step_flops
from benchmarks.workers import take_turns, workers

GPT2_124M = {
    "vocab_size": 50257,
    "context_length": 1024,
    "n_layers": 12,
    "n_heads": 12,
    "d_model": 768,
}
SMALL = {"vocab_size": 65, "context_length": 64, "n_layers": 4, "n_heads": 4, "d_model": 128}
MIDDLE = {"vocab_size": 65, "context_length": 256, "n_layers": 6, "n_heads": 6, "d_model": 384}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, a batch, and how often to measure it."""

    name: str
    model: dict[str, Any]
    batch: int
    time: int
    dropout: float
    rounds: int
    repetitions: int = 1

    @property
    def config(self) -> dict[str, Any]:
        """The fields of a `npgpt.GPTConfig`."""
        return {**self.model, "dropout": self.dropout}


CASES = [
    Case(
        f"{name} {batch}x{time}" + (f" dropout {dropout}" if dropout else ""),
        model,
        batch,
        time,
        dropout,
        rounds,
        repetitions,
    )
    for dropout in (0.0, 0.1)
    for name, model, batch, time, rounds, repetitions in (
        ("124M", GPT2_124M, 4, 64, 9, 1),
        ("124M", GPT2_124M, 4, 256, 7, 1),
        ("124M", GPT2_124M, 1, 1024, 7, 1),
        ("4 layers, d_model 128", SMALL, 12, 64, 25, 5),
        ("6 layers, d_model 384", MIDDLE, 64, 256, 5, 1),
    )
]


def train(
    only: Annotated[
        list[str] | None,
        typer.Option("--case", help="Cases whose name contains this; may be repeated."),
    ] = None,
    compile: Annotated[bool, typer.Option(help="Also measure torch.compile.")] = True,
    rounds: Annotated[int | None, typer.Option(min=1, help="Instead of each case's own.")] = None,
    quick: Annotated[bool, typer.Option(help="Two small cases, three rounds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Time whole training steps: forward, backward, clipping, AdamW."""
    wanted = only or (["d_model 128"] if quick else [""])
    cases = [case for case in CASES if any(part in case.name for part in wanted)]
    if not cases:
        raise typer.BadParameter(
            f"no case contains {' or '.join(map(repr, wanted))}; there are: "
            f"{', '.join(case.name for case in CASES)}."
        )
    machine = limits.measure(quick)
    report.console.print(str(machine))
    results = []
    for case in cases:
        with report.console.status(f"Measuring {case.name}"):
            results.append(_measure(case, compile, 3 if quick else rounds or case.rounds))
        _print(results[-1])
    report.save("train", machine, results, out)
    report.plot_bars(
        out / "train.png",
        "Training steps, tokens a second relative to PyTorch eager",
        "times PyTorch eager",
        {result["case"]: result["relative_speed"] for result in results},
    )


def _measure(case: Case, compile: bool, rounds: int) -> dict[str, Any]:
    arguments = {"config": case.config, "batch": case.batch, "time": case.time}
    sides = {
        "npgpt": ("benchmarks.steps:npgpt_step", arguments),
        "PyTorch eager": ("benchmarks.steps:torch_step", arguments),
        "sgemm": ("benchmarks.machine:sgemm_work", {}),
    }
    if compile:
        sides["torch.compile"] = ("benchmarks.steps:torch_step", {**arguments, "compile": True})
    with workers(sides) as started:
        losses = {name: w.result() for name, w in started.items() if name != "sgemm"}
        largest_difference = max(abs(loss - losses["npgpt"]) for loss in losses.values())
        if case.dropout == 0.0 and largest_difference > 1e-3:
            raise RuntimeError(f"{case.name}: the sides do not do the same work, losses {losses}.")
        seconds = take_turns(started, rounds, case.repetitions)
        memory = {name: worker.peak_memory() for name, worker in started.items()}
    sgemm_flops = 2.0 * 1024 * 3072 * 768
    rates = [sgemm_flops / s for s in seconds.pop("sgemm")]
    flops = step_flops(case.config, case.batch, case.time)
    eager = seconds["PyTorch eager"]
    return {
        "case": case.name,
        "tokens": case.batch * case.time,
        "first_loss": losses,
        "seconds": seconds,
        "relative_speed": {
            name: report.median(report.ratios(s, eager)) for name, s in seconds.items()
        },
        "utilisation": {
            name: [flops / t / rate for t, rate in zip(s, rates, strict=True)]
            for name, s in seconds.items()
        },
        "sgemm_rates": rates,
        "peak_memory": memory,
    }


def _print(result: dict[str, Any]) -> None:
    ours = result["seconds"]["npgpt"]
    rows = []
    for side, seconds in result["seconds"].items():
        rows.append(
            [
                side,
                f"{report.median(seconds):.3f}",
                f"{result['tokens'] / report.median(seconds):,.0f}",
                report.with_spread(report.ratios(ours, seconds)) if side != "npgpt" else "",
                report.with_spread(result["utilisation"][side]),
                f"{result['peak_memory'][side] / 2**30:.2f}",
            ]
        )
    columns = ["side", "seconds", "tokens/s", "npgpt is faster by", "of sgemm peak", "peak GiB"]
    report.print_table(f"{result['case']}, {len(ours)} rounds", columns, rows)

"""Whole training steps, side by side: npgpt, PyTorch eager, torch.compile."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.llmc import BATCH, TIME
from benchmarks.llmc import run as run_llmc
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
        typer.Option("--case", help="Cases of this name, or with this in it; may be repeated."),
    ] = None,
    compile: Annotated[bool, typer.Option(help="Also measure torch.compile.")] = True,
    rounds: Annotated[int | None, typer.Option(min=1, help="Instead of each case's own.")] = None,
    fused: Annotated[
        bool, typer.Option(help="PyTorch's fused AdamW, its fastest; else its default one.")
    ] = True,
    llmc: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A train_gpt2 of llm.c for the CPU, with its data: compared at 124M 4x64.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option(help="One small case, three rounds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Time whole training steps: forward, backward, clipping, AdamW."""
    report.needs_torch()
    compile = compile and not quick
    wanted = only or (["d_model 128 12x64"] if quick else [""])
    names = {case.name for case in CASES}
    cases = [
        case
        for case in CASES
        if any(part == case.name or (part in case.name and part not in names) for part in wanted)
    ]
    cases = cases[:1] if quick else cases
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
            results.append(_measure(case, compile, fused, 3 if quick else rounds or case.rounds))
        if llmc is not None and case.name == f"124M {BATCH}x{TIME}":
            with report.console.status("Measuring llm.c"):
                _add_llmc(results[-1], llmc)
        _print(results[-1])
    report.save("train", machine, results, out)
    report.plot_bars(
        out / "train.png",
        "Training steps, tokens a second relative to PyTorch eager",
        "times PyTorch eager",
        {result["case"]: result["relative_speed"] for result in results},
    )


def _add_llmc(result: dict[str, Any], program: Path) -> None:
    """Add llm.c's own times; it does not take turns, so its ratio is one of medians."""
    try:
        seconds = run_llmc(program)
    except RuntimeError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
    result["llm.c"] = {
        "seconds": seconds,
        "npgpt_is_faster_by": report.median(seconds) / report.median(result["seconds"]["npgpt"]),
    }


def _measure(case: Case, compile: bool, fused: bool, rounds: int) -> dict[str, Any]:
    torch_arguments = {"fused": fused}
    arguments = {"config": case.config, "batch": case.batch, "time": case.time}
    sides = {
        "npgpt": ("benchmarks.steps:npgpt_step", arguments),
        "PyTorch eager": ("benchmarks.steps:torch_step", {**arguments, **torch_arguments}),
        "sgemm": ("benchmarks.machine:sgemm_work", {}),
    }
    if compile:
        compiled = {**arguments, **torch_arguments, "compile": True}
        sides["torch.compile"] = ("benchmarks.steps:torch_step", compiled)
    with workers(sides) as started:
        losses = {name: w.result() for name, w in started.items() if name != "sgemm"}
        largest_difference = max(abs(loss - losses["npgpt"]) for loss in losses.values())
        if case.dropout == 0.0 and largest_difference > 1e-3:
            raise RuntimeError(f"{case.name}: the sides do not do the same work, losses {losses}.")
        seconds = take_turns(started, rounds, case.repetitions)
        memory = {name: worker.peak_memory() for name, worker in started.items()}
    rates = [limits.SGEMM_WORK / s for s in seconds.pop("sgemm")]
    flops = step_flops(case.config, case.batch, case.time)
    eager = seconds["PyTorch eager"]
    return {
        "case": case.name,
        "tokens": case.batch * case.time,
        "torch_adamw": "fused" if fused else "default",
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
    if "llm.c" in result:
        seconds = report.median(result["llm.c"]["seconds"])
        faster = f"{result['llm.c']['npgpt_is_faster_by']:.2f}"
        rows.append(
            ["llm.c", f"{seconds:.3f}", f"{result['tokens'] / seconds:,.0f}", faster, "", ""]
        )
    title = f"{result['case']}, {len(ours)} rounds, PyTorch's {result['torch_adamw']} AdamW"
    report.print_table(title, columns, rows)

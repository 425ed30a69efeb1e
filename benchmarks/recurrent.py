"""LSTM language models, side by side with `torch.nn.LSTM`: a step, its memory, generation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.memory import peak_of_steps
from benchmarks.recurrent_work import NEW, VOCABULARY
from benchmarks.workers import Worker, repetitions_for, take_turns, workers

CASES = {
    "2 layers, 512, 32 x 64": {"n_layers": 2, "d_model": 512, "batch": 32, "time": 64},
    "1 layer, 128, 32 x 64": {"n_layers": 1, "d_model": 128, "batch": 32, "time": 64},
}
QUICK = {"1 layer, 16, 4 x 8": {"n_layers": 1, "d_model": 16, "batch": 4, "time": 8}}
POSITIONS = (10, 10_000)
MIB = 2.0**20


def recurrent(
    compile: Annotated[bool, typer.Option(help="Also measure torch.compile.")] = True,
    rounds: Annotated[int, typer.Option(min=1)] = 15,
    quick: Annotated[bool, typer.Option(help="One small case, three rounds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Time training steps of LSTMs over characters, and generation near and far from the start."""
    report.needs_torch()
    machine = limits.measure(quick)
    report.console.print(str(machine))
    results = []
    for name, case in (QUICK if quick else CASES).items():
        with report.console.status(f"Measuring {name}"):
            result = _measure(case, compile and not quick, 3 if quick else rounds)
            result["generation"] = _generation(case, 3 if quick else rounds)
        results.append({"case": name, **result})
        _print(results[-1])
    report.save("recurrent", machine, results, out)
    report.plot_bars(
        out / "recurrent.png",
        "Training steps of LSTMs, relative to PyTorch eager",
        "times PyTorch eager",
        {
            r["case"]: {
                side: report.median(report.ratios(seconds, r["seconds"]["PyTorch eager"]))
                for side, seconds in r["seconds"].items()
            }
            for r in results
        },
    )


def _measure(case: dict[str, int], compile: bool, rounds: int) -> dict[str, Any]:
    sides: dict[str, tuple[str, dict[str, Any]]] = {
        "npgpt": ("benchmarks.recurrent_work:npgpt_step", case),
        "PyTorch eager": ("benchmarks.recurrent_work:torch_step", case),
    }
    if compile:
        compiled = {**case, "compile": True}
        sides["torch.compile"] = ("benchmarks.recurrent_work:torch_step", compiled)
    with workers(sides) as started:
        losses = {name: worker.result() for name, worker in started.items()}
        report.check_equal("The first loss", losses)
        repetitions = repetitions_for(started["PyTorch eager"].run(2))
        seconds = take_turns(started, rounds, repetitions)
    memory = {
        name: peak_of_steps(factory, {**arguments, **_alone(name)})
        for name, (factory, arguments) in sides.items()
    }
    look = Worker("benchmarks.recurrent_work:served_by_onednn", case)
    try:
        look.ready()
        onednn = bool(look.result())
    finally:
        look.close()
    return {"seconds": seconds, "peak_memory": memory, "onednn": onednn, "first_loss": losses}


def _alone(side: str) -> dict[str, bool]:
    return {} if side == "npgpt" else {"own_weights": True}


def _generation(case: dict[str, int], rounds: int) -> dict[str, list[float]]:
    """Return the tokens a second at each position, by round."""
    shape = {name: case[name] for name in ("n_layers", "d_model")}
    sides = {
        str(position): ("benchmarks.recurrent_work:npgpt_generation", shape)
        for position in POSITIONS
    }
    rates: dict[str, list[float]] = {position: [] for position in sides}
    with workers(sides) as started:
        for number in range(-1, rounds):
            for position, worker in started.items():
                seconds = worker.run(1 if number < 0 else 4, position)
                if number >= 0:
                    rates[position].append(NEW / seconds)
    return rates


def _print(result: dict[str, Any]) -> None:
    ours, peaks = result["seconds"]["npgpt"], result["peak_memory"]
    rows = [
        [
            side,
            f"{1e3 * report.median(seconds):.2f}",
            report.with_spread(report.ratios(ours, seconds)) if side != "npgpt" else "",
            f"{peaks[side] / MIB:.0f}",
            f"{peaks[side] / peaks['PyTorch eager']:.2f}",
        ]
        for side, seconds in result["seconds"].items()
    ]
    columns = ["side", "ms", "npgpt is faster by", "peak MiB", "of PyTorch eager"]
    title = f"LSTM over {VOCABULARY} characters, {result['case']}, {len(ours)} rounds"
    report.print_table(title, columns, rows)
    served = "oneDNN" if result["onednn"] else "PyTorch's own products, not oneDNN,"
    rates = {position: report.median(r) for position, r in result["generation"].items()}
    told = ", ".join(f"{rate:,.0f} at position {int(p):,}" for p, rate in rates.items())
    report.console.print(f"{served} computed PyTorch's LSTM. Generated tokens a second: {told}.")

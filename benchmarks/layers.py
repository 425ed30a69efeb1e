"""Each operation against its PyTorch twin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.layer_work import OPERATIONS, RANDOM, WITHOUT_FORWARD, least_work
from benchmarks.workers import repetitions_for, take_turns, workers


def layers(
    rounds: Annotated[int, typer.Option(min=1)] = 9,
    quick: Annotated[bool, typer.Option(help="d_model 128 and few tokens.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Time each operation of GPT-2 124M, 4 x 256 tokens, forward and back."""
    report.needs_torch()
    machine = limits.measure(quick)
    report.console.print(str(machine))
    arguments: dict[str, Any] = (
        {"d": 128, "shape": (2, 64)} if quick else {"d": 768, "shape": (4, 256)}
    )
    results = []
    with workers(
        {
            "npgpt": ("benchmarks.layer_work:npgpt_layers", arguments),
            "PyTorch": ("benchmarks.layer_work:torch_layers", arguments),
        }
    ) as sides:
        for operation in OPERATIONS:
            with report.console.status(f"Measuring {operation}"):
                results.append(_measure(sides, operation, 3 if quick else rounds))
    for result in results:
        flops, traffic = least_work(operation=result["operation"], **arguments)
        least = max(flops / machine.sgemm, traffic / machine.bandwidth)
        result["of_limit"] = least / report.median(result["both"]["npgpt"])
    _print(results)
    report.save("layers", machine, results, out)
    report.plot_bars(
        out / "layers.png",
        "Operations, forward and back, relative to PyTorch",
        "times PyTorch",
        {
            r["operation"]: {
                "PyTorch": 1.0,
                "npgpt": report.median(report.ratios(r["both"]["npgpt"], r["both"]["PyTorch"])),
            }
            for r in results
        },
    )


def _measure(sides, operation: str, rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {"operation": operation}
    parts = ("both",) if operation in WITHOUT_FORWARD else ("forward", "both")
    for part in parts:
        task = f"{operation}, {part}"
        if operation not in RANDOM:
            report.check_equal(task, {name: side.result(task) for name, side in sides.items()})
        repetitions = repetitions_for(sides["PyTorch"].run(1, task))
        result[part] = take_turns(sides, rounds, repetitions, task=task)
    return result


def _print(results: list[dict[str, Any]]) -> None:
    rows = []
    for result in results:
        row = [result["operation"]]
        for part in ("forward", "both"):
            if part not in result:
                row += ["", ""]
                continue
            ours, theirs = result[part]["npgpt"], result[part]["PyTorch"]
            times = f"{1e3 * report.median(ours):.2f} / {1e3 * report.median(theirs):.2f}"
            row += [times, report.with_spread(report.ratios(ours, theirs))]
        row.append(f"{result['of_limit']:.2f}")
        rows.append(row)
    columns = ["operation", "forward ms", "faster by", "and back ms", "faster by", "of the limit"]
    report.print_table("npgpt / PyTorch", columns, rows)

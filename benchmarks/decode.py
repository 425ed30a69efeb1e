"""Generation, side by side with transformers on the same weights: one stream, a batch, prefill."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import decode_work as tasks
from benchmarks import machine as limits
from benchmarks import report
from benchmarks.train import GPT2_124M, SMALL
from benchmarks.workers import take_turns, workers

SIDES = ("float32", "bfloat16", "int8")
QUICK = {"single": (1, 4, 4), "batch 8": (8, 4, 4), "prefill": (1, 63, 1)}


def decode(
    rounds: Annotated[int, typer.Option(min=1, help="Of each task.")] = 7,
    quick: Annotated[bool, typer.Option(help="A small model, three rounds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Time greedy generation by GPT-2 124M, with keys and values kept on both sides."""
    report.needs_torch()
    machine = limits.measure(quick)
    report.console.print(str(machine))
    config = SMALL if quick else GPT2_124M
    sizes = QUICK if quick else dict(tasks.TASKS)
    with tempfile.TemporaryDirectory() as folder:
        tasks.make_model(Path(folder) / "model", config)
        results = _measure(f"{folder}/model", sizes, 3 if quick else rounds)
    results["weight_bytes"] = _weight_bytes(config)
    _print(results, sizes)
    report.save("decode", machine, results, out)
    report.plot_bars(
        out / "decode.png",
        "Greedy generation, tokens a second relative to transformers",
        "times transformers",
        {
            task: {
                side: report.median(report.ratios(seconds, sides["transformers"]))
                for side, seconds in sides.items()
                if side != "read"
            }
            for task, sides in results["seconds"].items()
        },
    )


def _measure(folder: str, sizes: dict[str, Any], rounds: int) -> dict[str, Any]:
    sides: dict[str, tuple[str, dict[str, Any]]] = {
        f"npgpt {dtype}": (
            "benchmarks.decode_work:npgpt_decode",
            {"folder": folder, "dtype": dtype, "tasks": sizes},
        )
        for dtype in SIDES
    }
    theirs = {"folder": folder, "tasks": sizes}
    sides["transformers"] = ("benchmarks.decode_work:transformers_decode", theirs)
    sides["read"] = ("benchmarks.decode_work:read_work", {})
    seconds = {}
    with workers(sides) as started:
        for task in sizes:
            chosen = dict(started)
            if task != "single":
                del chosen["read"]
            same = {name: chosen[name].result(task) for name in ("npgpt float32", "transformers")}
            report.check_equal(task, same)
            seconds[task] = take_turns(chosen, rounds, warm_up=1, task=task)
    return {"seconds": seconds, "tasks": sizes, "read_bytes": 4 * tasks.READ}


def _weight_bytes(config: dict[str, Any]) -> int:
    """Bytes of float32 weights that one token reads: all but the tables' other rows."""
    d, layers = config["d_model"], config["n_layers"]
    return 4 * (layers * 12 * d * d + config["vocab_size"] * d)


def _print(results: dict[str, Any], sizes: dict[str, Any]) -> None:
    for task, sides in results["seconds"].items():
        batch, length, new = sizes[task]
        count = batch * (length if task == "prefill" else new)
        rows = [
            [
                side,
                f"{report.median(seconds):.3f}",
                f"{count / report.median(seconds):,.1f}",
                report.with_spread(report.ratios(seconds, sides["transformers"])),
            ]
            for side, seconds in sides.items()
            if side != "read"
        ]
        columns = ["side", "seconds", "tokens/s", "times transformers"]
        report.print_table(f"{task}: {batch} x {length} and {new} new tokens", columns, rows)
    single, new = results["seconds"]["single"], sizes["single"][2]
    shares = [
        results["weight_bytes"] * new / ours / (results["read_bytes"] / read)
        for ours, read in zip(single["npgpt float32"], single["read"], strict=True)
    ]
    rates = [results["read_bytes"] / read / 1e9 for read in single["read"]]
    report.console.print(
        f"Memory was read at {report.with_spread(rates)} GB/s in the same rounds; npgpt float32 "
        f"reads its weights at {report.with_spread(shares)} of that."
    )

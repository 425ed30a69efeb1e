"""npgpt experiment."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from npgpt.cli.app import console, tells_errors
from npgpt.cli.shared.options import usage_errors

experiment_app = typer.Typer(
    name="experiment",
    help="Run an experiment that compares models, print its table, and draw it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Plot = Annotated[
    Path | None, typer.Option(help="Draw the result, as a PNG, to this file.", metavar="FILE")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@experiment_app.command("vanishing-gradients")
@tells_errors
def vanishing_gradients_command(
    depths: Annotated[str, typer.Option(help="Numbers of blocks.")] = "2,4,8,16,32,48",
    gain: Annotated[
        float, typer.Option(help="Of the initial weights; above 1 they grow what they map.")
    ] = 1.0,
    d_model: Annotated[int, typer.Option(min=1, help="Width; a multiple of 4.")] = 64,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Measure each block's gradient, by depth, with and without shortcuts and norms.

    The table shows the gradient norm of the first block over that of the last: 1 where all blocks
    learn alike, near 0 where the gradient vanishes on its way down, large where it explodes.

    [bold]Examples[/bold]

      npgpt experiment vanishing-gradients --plot vanishing.png

      npgpt experiment vanishing-gradients --depths 2,8,24 --gain 2
    """
    from npgpt.cli.shared.progress import progress_bar
    from npgpt.experiments import plot_vanishing_gradients, vanishing_gradients

    try:
        numbers = [int(depth) for depth in depths.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--depths must be numbers with commas, got {depths!r}.") from None
    with progress_bar(console, "Measuring") as progress:
        results = vanishing_gradients(numbers, gain, d_model, seed=seed, on_model=progress)
    if plot is not None:
        plot_vanishing_gradients(results, plot)
    if as_json:
        print(json.dumps([dataclasses.asdict(result) for result in results]))
        return
    table = Table(title="Gradient norm, first block / last block", title_justify="left")
    table.add_column("blocks", justify="right")
    variants = list(dict.fromkeys(result.variant for result in results))
    for variant in variants:
        table.add_column(variant, justify="right")
    ratios = {(result.variant, result.n_layers): result.ratio for result in results}
    for depth in numbers:
        cells = (ratios[variant, depth] for variant in variants)
        table.add_row(
            str(depth), *(f"{ratio:.2g}" if ratio == ratio else "overflow" for ratio in cells)
        )
    console.print(table)
    _say_where(plot)


@experiment_app.command("positions")
@tells_errors
def positions_command(
    text: Annotated[str, typer.Argument(help="A text, as npgpt train takes it.")],
    kinds: Annotated[
        str, typer.Option(help="Kinds of position.")
    ] = "learned,sinusoidal,t5,alibi,rope",
    context_length: Annotated[
        int, typer.Option("--context-length", "--context", min=2, help="To train at.")
    ] = 64,
    longer: Annotated[int, typer.Option(min=2, help="Context to evaluate at.")] = 256,
    tokenizer: Annotated[str, typer.Option(help="bpe (byte pairs) or char.")] = "char",
    n_layers: Annotated[int, typer.Option("--n-layers", "--layers", min=1)] = 4,
    n_heads: Annotated[int, typer.Option("--n-heads", "--heads", min=1)] = 4,
    d_model: Annotated[int, typer.Option(min=1)] = 128,
    steps: Annotated[int, typer.Option(min=1)] = 1500,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    lr: Annotated[float, typer.Option(min=0)] = 2e-3,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Train at one context and evaluate at a longer one, for each kind of position.

    Learned positions end with the context that they were trained at, so at the longer one there is
    no answer (n/a). The column "overlapping" is what they can do instead: windows of the trained
    length, each half new, so that every token is predicted from at least half a context.

    [bold]Examples[/bold]

      npgpt experiment positions shakespeare.txt --plot positions.png

      npgpt experiment positions shakespeare.txt --kinds alibi,rope --longer 1024 --steps 300
    """
    from npgpt.cli.shared.progress import compile_kernels, progress_bar
    from npgpt.experiments import compare_positions, plot_positions
    from npgpt.runs import RunConfig

    chosen = kinds.split(",")
    settings = {
        "corpus": text, "tokenizer": tokenizer, "context_length": context_length,
        "n_layers": n_layers, "n_heads": n_heads, "d_model": d_model, "steps": steps,
        "batch_size": batch_size, "lr": lr, "seed": seed,
    }  # fmt: skip
    with usage_errors():
        configs = [RunConfig(**settings, position=kind) for kind in chosen]  # type: ignore[arg-type]
    if longer <= context_length:
        raise typer.BadParameter(f"--longer must be above the context length, {context_length}.")
    for config in configs:
        compile_kernels(console, config.model_config(8))
    with progress_bar(console, "Training") as progress:

        def on_step(kind: str, done: int, total: int) -> None:
            progress(chosen.index(kind) * total + done, len(chosen) * total)

        results = compare_positions(configs[0], longer, chosen, on_step)
    if plot is not None:
        plot_positions(results, context_length, plot)
    if as_json:
        print(json.dumps([dataclasses.asdict(result) for result in results]))
        return
    table = Table(title="Held-out loss, nats a token", title_justify="left")
    table.add_column("positions")
    for column in (
        f"at {context_length}",
        f"at {context_length}, overlapping",
        f"at {longer}",
        f"at {longer}, places {longer // 2 + 1} on",
    ):
        table.add_column(column, justify="right")
    for result in results:
        far = sum(result.by_place[longer // 2 :]) / (longer - longer // 2)
        at_longer = "n/a" if result.longer is None else f"{result.longer:.3f}"
        far_shown = "n/a" if result.longer is None else f"{far:.3f}"
        table.add_row(
            result.position,
            f"{result.trained_length:.3f}",
            f"{result.sliding:.3f}",
            at_longer,
            far_shown,
        )
    console.print(table)
    _say_where(plot)


def _say_where(plot: Path | None) -> None:
    if plot is not None:
        console.print(f"Plot: {plot}", soft_wrap=True)

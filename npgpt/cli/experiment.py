"""npgpt experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from npgpt.cli.app import HELP, tells_errors
from npgpt.cli.shared.arguments import AsJson, Plot
from npgpt.cli.shared.console import console
from npgpt.cli.shared.options import numbers_of, usage_errors, with_options
from npgpt.cli.shared.results import show_results
from npgpt.cli.shared.tables import make_table
from npgpt.experiments.positions import PositionResult
from npgpt.experiments.vanishing_gradients import DepthResult
from npgpt.models import GPTConfig
from npgpt.runs import DataConfig, OptimisationConfig, RunConfig

experiment_app = typer.Typer(
    name="experiment",
    help="Run an experiment that compares models, print its table, and draw it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings=HELP,
)

# settings of the experiment with positions, and their defaults in it
POSITIONS: dict[str, Any] = {
    "tokenizer": "char", "context_length": 64, "n_layers": 4, "n_heads": 4, "d_model": 128,
    "steps": 1500, "batch_size": 16, "lr": 2e-3, "seed": 0,
}  # fmt: skip


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
    from npgpt.experiments import vanishing_gradients
    from npgpt.plots.experiments import plot_vanishing_gradients

    numbers = numbers_of(depths, "--depths must be numbers with commas")
    with usage_errors(), progress_bar(console, "Measuring") as progress:
        results = vanishing_gradients(numbers, gain, d_model, seed=seed, on_model=progress)
    show_results(results, _print_ratios, as_json, plot, plot_vanishing_gradients)


def _print_ratios(results: Sequence[DepthResult]) -> None:
    variants = list(dict.fromkeys(result.variant for result in results))
    table = make_table("Gradient norm, first block / last block", "blocks", *variants, left=0)
    ratios = {(result.variant, result.n_layers): result.ratio for result in results}
    for depth in dict.fromkeys(result.n_layers for result in results):
        cells = (ratios[variant, depth] for variant in variants)
        table.add_row(
            str(depth), *(f"{ratio:.2g}" if ratio == ratio else "overflow" for ratio in cells)
        )
    console.print(table)


@experiment_app.command("positions")
@tells_errors
@with_options(DataConfig, GPTConfig, OptimisationConfig, names=POSITIONS, defaults=POSITIONS)
def positions_command(
    text: Annotated[str, typer.Argument(help="A text, as npgpt train takes it.")],
    kinds: Annotated[
        str, typer.Option(help="Kinds of position.")
    ] = "learned,sinusoidal,t5,alibi,rope",
    longer: Annotated[int, typer.Option(min=2, help="Context to evaluate at.")] = 256,
    plot: Plot = None,
    as_json: AsJson = False,
    **settings: Any,
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
    from npgpt.experiments import compare_positions
    from npgpt.plots.experiments import plot_positions

    chosen = kinds.split(",")
    with usage_errors():
        configs = [RunConfig(**POSITIONS | settings, corpus=text, position=k) for k in chosen]
    context_length = configs[0].context_length
    if context_length < 2:
        raise typer.BadParameter(f"--context-length must be at least 2, got {context_length}.")
    if longer <= context_length:
        raise typer.BadParameter(f"--longer must be above the context length, {context_length}.")
    for config in configs:
        compile_kernels(console, config.model_config(8))
    with progress_bar(console, "Training") as progress:

        def on_step(kind: str, done: int, total: int) -> None:
            progress(chosen.index(kind) * total + done, len(chosen) * total)

        results = compare_positions(configs[0], longer, chosen, on_step)

    def print_losses(results: Sequence[PositionResult]) -> None:
        _print_losses(results, context_length, longer)

    show_results(results, print_losses, as_json, plot, plot_positions, context_length)


def _print_losses(results: Sequence[PositionResult], context_length: int, longer: int) -> None:
    table = make_table(
        "Held-out loss, nats a token",
        "positions",
        f"at {context_length}",
        f"at {context_length}, overlapping",
        f"at {longer}",
        f"at {longer}, places {longer // 2 + 1} on",
    )
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

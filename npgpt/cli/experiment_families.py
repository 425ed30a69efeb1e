"""npgpt experiment: those that compare recurrent and convolutional models with GPT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.experiment import experiment_app
from npgpt.cli.shared.arguments import AsJson, Plot
from npgpt.cli.shared.console import console
from npgpt.cli.shared.options import numbers_of, usage_errors, with_options
from npgpt.cli.shared.results import show_results
from npgpt.cli.shared.tables import make_table
from npgpt.experiments.gradient_by_distance import COMPARED, DistanceResult, config_like
from npgpt.experiments.language_models import LanguageModelResult, fewest_steps
from npgpt.experiments.memory import DISTANCES, TASKS, MemoryResult
from npgpt.experiments.sizes import FAMILIES, check_families
from npgpt.models import RNNConfig
from npgpt.runs import DataConfig, OptimisationConfig, RunConfig

Text = Annotated[str, typer.Argument(help="A text, as npgpt train takes it.")]
Parameters = Annotated[
    int, typer.Option(min=1, help="Of each model, about: widths are searched for.")
]
BUILT_IN = "python-docs"
COMPILING = "(the first time kernels are compiled: about a minute)"

# settings of each experiment that trains on a text, and their defaults in it
LEARNING: dict[str, Any] = {
    "tokenizer": "char", "batch_size": 16, "lr": 3e-3, "eval_batches": 16, "seed": 0,
}  # fmt: skip
GRADIENTS: dict[str, Any] = {
    "tokenizer": "char", "context_length": 256, "n_layers": 1, "d_model": 128, "steps": 500,
    "batch_size": 8, "lr": 3e-3, "seed": 0,
}  # fmt: skip
SHOWN_DISTANCES, SHARED_DISTANCE = (0, 10, 50, 100, 200), 100


@experiment_app.command("language-models")
@tells_errors
@with_options(DataConfig, OptimisationConfig, names=LEARNING, defaults=LEARNING)
def language_models_command(
    text: Text = BUILT_IN,
    models: Annotated[str, typer.Option(help="Families of models.")] = ",".join(FAMILIES),
    parameters: Parameters = 250_000,
    context_length: Annotated[
        int, typer.Option("--context-length", "--context", min=1, help="Length of the windows.")
    ] = 64,
    seconds: Annotated[float, typer.Option(help="Training time of each model.")] = 60.0,
    plot: Plot = None,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Train five language models of equal size for equally long on one text.

    The table shows each model's held-out loss when all have done as many steps as the slowest, and
    when their time is over. Ctrl-C shows the models that are done.

    [bold]Examples[/bold]

      npgpt experiment language-models --plot models.png

      npgpt experiment language-models shakespeare.txt --models lstm,gpt --seconds 120
    """
    from npgpt.cli.shared.progress import progress_bar
    from npgpt.experiments import compare_language_models
    from npgpt.plots.experiments import plot_language_models

    kinds = _names(models)
    with usage_errors():
        check_families(kinds, "--models")
        config = RunConfig("rnn", **LEARNING | settings, corpus=text, context_length=context_length)
    if not 0.0 < seconds < float("inf"):
        raise typer.BadParameter(f"--seconds must be positive, got {seconds}.")
    results: list[LanguageModelResult] = []
    try:
        with progress_bar(console, "Training", COMPILING) as progress:

            def on_time(kind: str, spent: float) -> None:
                done = kinds.index(kind) * seconds + spent
                progress(int(1000 * done), int(1000 * len(kinds) * seconds))

            compare_language_models(
                config, kinds, parameters, seconds, on_time=on_time, on_result=results.append
            )
    finally:
        show_results(results, _print_losses, as_json, plot, plot_language_models)


def _names(text: str) -> list[str]:
    """Read names with commas between them; each counts once."""
    return list(dict.fromkeys(text.split(",")))


def _print_losses(results: Sequence[LanguageModelResult]) -> None:
    steps = fewest_steps(results)
    table = make_table(
        "Held-out loss, nats a token",
        "model",
        "layers x d_model",
        "parameters",
        "tokens/s",
        "steps",
        f"loss at step {steps:,}",
        f"loss after {max(result.seconds[-1] for result in results):.3g} s",
    )
    for result in results:
        table.add_row(
            result.model,
            f"{result.n_layers} x {result.d_model}",
            f"{result.parameters:,}",
            f"{result.tokens_per_second:,.0f}",
            f"{result.steps[-1]:,}",
            f"{result.loss_at(steps):.3f}",
            f"{result.losses[-1]:.3f}",
        )
    console.print(table)


@experiment_app.command("gradient-by-distance")
@tells_errors
@with_options(DataConfig, RNNConfig, OptimisationConfig, names=GRADIENTS, defaults=GRADIENTS)
def gradient_by_distance_command(
    text: Text = BUILT_IN,
    models: Annotated[str, typer.Option(help="Families of models.")] = ",".join(COMPARED),
    distance: Annotated[
        int, typer.Option(min=1, help="The largest, below the context length.")
    ] = 200,
    windows: Annotated[int, typer.Option(min=1, help="Held-out windows to measure in.")] = 32,
    plot: Plot = None,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Measure how the gradient of the last loss shrinks on its way back.

    The table shows the norm of the gradient by the embedding so many positions before the last one,
    at the start and after training, and the share of distance 0 that is left. Ctrl-C shows what is
    measured.

    [bold]Examples[/bold]

      npgpt experiment gradient-by-distance --plot gradients.png

      npgpt experiment gradient-by-distance shakespeare.txt --models rnn,lstm --steps 3000
    """
    from npgpt.cli.shared.progress import compile_kernels, progress_bar
    from npgpt.experiments import compare_gradients
    from npgpt.plots.experiments import plot_gradients

    kinds = _names(models)
    with usage_errors():
        config = RunConfig("rnn", **GRADIENTS | settings, corpus=text)
        configs = [config_like(config, kind) for kind in kinds]
    if distance >= config.context_length:
        raise typer.BadParameter(
            f"--distance must be below the context length, {config.context_length}, got {distance}."
        )
    for each in configs:
        compile_kernels(console, each.model_config(8))
    results: list[DistanceResult] = []
    try:
        with progress_bar(console, "Training") as progress:

            def on_step(kind: str, done: int, total: int) -> None:
                progress(kinds.index(kind) * total + done, len(kinds) * total)

            compare_gradients(config, kinds, distance, windows, on_step, results.append)
    finally:
        show_results(results, _print_norms, as_json, plot, plot_gradients)


def _print_norms(results: Sequence[DistanceResult]) -> None:
    farthest = len(results[0].norms) - 1
    distances = [distance for distance in SHOWN_DISTANCES if distance <= farthest]
    shared = min(SHARED_DISTANCE, farthest)
    table = make_table(
        "Gradient norm by distance",
        "model",
        "steps",
        *map(str, distances),
        f"share at {shared}",
    )
    for result in results:
        table.add_row(
            result.model,
            f"{result.steps:,}",
            *(f"{result.norms[distance]:.1e}" for distance in distances),
            f"{result.share(shared):.1e}",
        )
    console.print(table)


@experiment_app.command("memory")
@tells_errors
def memory_experiment_command(
    models: Annotated[str, typer.Option(help="Families of models.")] = ",".join(FAMILIES),
    tasks: Annotated[
        str,
        typer.Option(
            help="copy and recall, a model for each distance; recall-mixed, one for all distances."
        ),
    ] = ",".join(TASKS),
    distances: Annotated[
        str, typer.Option(help="Positions from what is asked for to where it is.")
    ] = ",".join(map(str, DISTANCES)),
    parameters: Parameters = 50_000,
    steps: Annotated[int, typer.Option(min=1, help="Most optimiser steps of a training.")] = 400,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences a step.")] = 32,
    lr: Annotated[float, typer.Option(min=0, help="Learning rate.")] = 5e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and sequences.")] = 0,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Train models to copy symbols and to recall the first one, by distance.

    The table shows the share of symbols that are right; chance is 1 of 8. Ctrl-C shows what is
    measured.

    [bold]Examples[/bold]

      npgpt experiment memory --plot memory.png

      npgpt experiment memory --tasks copy --models rnn,lstm --distances 4,8,12,16 --steps 2000
    """
    from npgpt.cli.shared.progress import progress_bar
    from npgpt.experiments import compare_memories
    from npgpt.plots.experiments import plot_memories

    numbers = numbers_of(distances, "--distances must be numbers with commas")
    results: list[MemoryResult] = []
    try:
        with progress_bar(console, "Training", COMPILING) as progress, usage_errors():
            compare_memories(
                _names(models), _names(tasks), numbers, parameters, steps, batch_size, lr, seed,
                progress, results.append,
            )  # fmt: skip
    finally:
        show_results(results, _print_accuracies, as_json, plot, plot_memories)


def _print_accuracies(results: Sequence[MemoryResult]) -> None:
    sizes = [result.parameters for result in results]
    models = dict.fromkeys(result.model for result in results)
    title = f"Share of symbols right, by models of {min(sizes):,} to {max(sizes):,} parameters"
    table = make_table(title, "task", "distance", *models)
    cells = {(r.task, r.distance, r.model): f"{r.accuracy:.3f}" for r in results}
    for task, distance in dict.fromkeys((result.task, result.distance) for result in results):
        of_models = (cells.get((task, distance, model), "") for model in models)
        table.add_row(task, str(distance), *of_models)
    console.print(table)

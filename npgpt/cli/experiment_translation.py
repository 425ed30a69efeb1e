"""npgpt experiment translation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.experiment import experiment_app
from npgpt.cli.experiment_families import COMPILING
from npgpt.cli.shared.arguments import AsJson, Plot
from npgpt.cli.shared.console import console
from npgpt.cli.shared.options import usage_errors, with_options
from npgpt.cli.shared.pictures import draw, draw_last
from npgpt.cli.shared.tables import make_table
from npgpt.experiments.translation import (
    COMPARED,
    EXACT_MATCH,
    AlignedText,
    TranslatorResult,
    compare_scores,
    config_like,
)
from npgpt.models import TransformerConfig
from npgpt.runs import PairOptimisationConfig, PairsConfig, TranslationConfig
from npgpt.runs.translation_config import SHAPE

# settings of the experiment; all else is as of npgpt train --pairs
SETTINGS = (
    "swap", "tokenizer", "vocab_size", "validation_fraction", "context_length", "n_layers",
    "d_model", "dropout", "label_smoothing", "batch_tokens", "lr", "warmup_steps", "seed",
)  # fmt: skip
WARMUP = 300
DEFAULTS = {**SHAPE, "warmup_steps": WARMUP}


@experiment_app.command("translation")
@tells_errors
@with_options(
    PairsConfig, TransformerConfig, PairOptimisationConfig, names=SETTINGS, defaults=DEFAULTS
)
def translation_command(
    pairs: Annotated[str, typer.Argument(help="As npgpt train takes them.")] = "dates",
    models: Annotated[
        str,
        typer.Option(help="As npgpt train --pairs calls them; others are held against the first."),
    ] = ",".join(COMPARED),
    seconds: Annotated[float, typer.Option(help="Training time of each model.")] = 60.0,
    limit: Annotated[int, typer.Option(min=1, help="Held-out pairs to translate.")] = 2000,
    align: Annotated[
        Path | None,
        typer.Option(
            help="Draw where each model looked in one source, as a PNG.", metavar="PICTURE"
        ),
    ] = None,
    plot: Plot = None,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Train translators for equally long on the same pairs, and score them by source length.

    One has a single vector between encoder and decoder, one attention beside it, one is attention
    alone. --plot draws the score by the length of the source. Of pairs that are not built in, BLEU
    and chrF follow, with the probability that the difference from the first model is chance.

    [bold]Examples[/bold]

      npgpt experiment translation --plot dates.png --align alignments.png

      npgpt experiment translation reverse --seconds 240 --plot reverse.png

      npgpt experiment translation gettext:de --seconds 900 --d-model 128 --plot lengths.png
    """
    from npgpt.cli.shared.progress import progress_bar
    from npgpt.experiments.translation import compare_translators
    from npgpt.plots.translation import plot_translators

    names = [*dict.fromkeys(models.split(","))]
    with usage_errors():
        config = TranslationConfig(None, pairs=pairs, **{"warmup_steps": WARMUP, **settings})
        for name in names:
            config_like(config, name)
    if not 0.0 < seconds < float("inf"):
        raise typer.BadParameter(f"--seconds must be positive, got {seconds}.")
    results: list[TranslatorResult] = []
    aligned: list[AlignedText] = []

    def on_result(result: TranslatorResult, found: AlignedText | None) -> None:
        results.append(result)
        if found is not None:
            aligned.append(found)

    try:
        with progress_bar(console, "Training", COMPILING) as progress:

            def on_time(name: str, spent: float) -> None:
                done = names.index(name) * seconds + spent
                progress(int(1000 * done), int(1000 * len(names) * seconds))

            compare_translators(config, names, seconds, limit, on_time, on_result)
    finally:
        if results:
            _show(results, as_json)
            draw_last(plot, as_json, plot_translators, results, plot)
            if align is not None and aligned:
                _draw(align, aligned, as_json)


def _show(results: Sequence[TranslatorResult], as_json: bool) -> None:
    if as_json:
        told = [dataclasses.asdict(result) for result in results]
        for each in told:
            del each["references"]  # the same for all, and as the pairs have them
        print(json.dumps(told))
        return
    ends = [results[0].by_length[i] for i in (0, -1)]  # of the same sources for all models
    table = make_table(
        "Held-out pairs",
        "model",
        "parameters",
        "steps",
        "pairs/s",
        "loss",
        results[0].metric,
        *(f"{end.shortest} to {end.longest} tokens" for end in ends),
    )
    for result in results:
        table.add_row(
            result.model,
            f"{result.parameters:,}",
            f"{result.steps:,}",
            f"{result.pairs_per_second:,.0f}",
            f"{result.loss:.4f}",
            f"{result.score:.3f}",
            *(f"{result.by_length[i].score:.3f}" for i in (0, -1)),
        )
    console.print(table)
    if results[0].metric != EXACT_MATCH and len(results) > 1:
        for score in compare_scores(results):
            console.print(str(score), soft_wrap=True)


def _draw(path: Path, aligned: Sequence[AlignedText], as_json: bool) -> None:
    from npgpt.plots.translation import plot_alignments
    from npgpt.trace.token_text import labels_of

    maps = []
    for each in aligned:
        both, found = each.run.tokenizer, each.found
        source = labels_of(both.source, found.source_ids)
        maps.append((each.model, found.alignment, source, labels_of(both.target, found.token_ids)))
    draw(path, plot_alignments, maps, path)
    if not as_json:
        console.print(f"Plot: {path}", soft_wrap=True)

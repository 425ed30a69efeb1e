"""npgpt flow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.arguments import (
    AsJson,
    Checkpoint,
    Model,
    Plot,
    Revision,
    check_checkpoint,
    open_argument,
    open_trained,
    translation_run,
)
from npgpt.cli.shared.console import console
from npgpt.cli.shared.options import with_options
from npgpt.cli.shared.pictures import draw_last
from npgpt.data.pairs import encode_pairs
from npgpt.gradients import Flow
from npgpt.runs import DataConfig, OpenedModel, PretrainingRun, TranslationRun
from npgpt.runs.folder import FLOW


@tells_errors
@with_options(DataConfig, names=("field", "errors"))
def flow_command(
    model: Model,
    text: Annotated[
        str | None,
        typer.Argument(
            help="A text file, folder or glob to measure on; by default a run's held-out text or "
            "pairs."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows, or pairs, to measure on.")] = 4,
    step: Annotated[
        int | None,
        typer.Option(
            help="Show what a run's training measured at this step (see npgpt train "
            "--gradient-flow), instead of measuring now.",
            min=1,
        ),
    ] = None,
    plot: Plot = None,
    checkpoint: Checkpoint = "best",
    revision: Revision = None,
    as_json: AsJson = False,
    **reading: Any,
) -> None:
    """Show how activations and gradients flow through a model, layer by layer.

    Norms of activations and of the gradients that reach them, dead units, attention entropy; of
    every layer's weights the norm and the gradient.

    [bold]Examples[/bold]

      npgpt flow runs/python-docs-1

      npgpt flow runs/python-docs-1 --plot flow.png

      npgpt flow runs/python-docs-1 --step 100 --json

      npgpt flow gpt2 README.md
    """
    from npgpt.plots.flow import plot_flow

    if step is not None:
        flow = _measured_at(model, step)
        title = f"{Path(model).name}, step {step}"
    elif (run := translation_run(model)) is not None:
        if text is not None or reading:
            raise typer.BadParameter(
                f"{model} is measured on its held-out pairs: leave out {text}."
            )
        check_checkpoint(checkpoint)
        flow = _measured_on_pairs(run, batch_size, checkpoint)
        title = f"{model}, {checkpoint} checkpoint"
    else:
        opened = open_argument(model, checkpoint, revision)
        flow = _measured_now(opened, text, batch_size, reading)
        title = f"{model}, {checkpoint} checkpoint" if text is None else f"{model} on {text}"
    if as_json:
        print(json.dumps(flow.to_dict()))
    else:
        console.print(str(flow), soft_wrap=True)
    draw_last(plot, as_json, plot_flow, flow, plot, title)


def _measured_now(
    opened: OpenedModel, text: str | None, batch_size: int, reading: dict[str, Any]
) -> Flow:
    from npgpt.cli.shared.progress import compile_kernels
    from npgpt.data import TokenWindows, encode_documents, load_corpus
    from npgpt.gradients import gradient_flow

    if text is not None:
        ids = encode_documents(load_corpus(text, **reading).documents, opened.tokenizer)
    elif not isinstance(opened.run, PretrainingRun):
        raise typer.BadParameter(f"{opened.name} is not a run with a held-out text: give a TEXT.")
    else:
        ids = opened.run.windows[1].ids
    context = min(opened.model.config.context_length, len(ids) - 1)
    if context < 1:
        raise ValueError(f"{text} has {len(ids)} tokens; at least 2 are needed.")
    windows = TokenWindows(ids, context)
    inputs, targets = windows.batch(list(range(min(batch_size, len(windows)))))
    compile_kernels(console, opened.model.config)
    return gradient_flow(opened.model, inputs, targets)


def _measured_on_pairs(run: TranslationRun, batch_size: int, checkpoint: str) -> Flow:
    from npgpt.cli.shared.progress import compile_kernels
    from npgpt.gradients import gradient_flow

    pairs, _ = encode_pairs(run.some_held_out(batch_size), run.tokenizer)
    compile_kernels(console, run.model_config)
    return gradient_flow(run.load_translator(checkpoint), *pairs.batch(range(len(pairs))))


def _measured_at(folder: str, step: int) -> Flow:
    run = open_trained(folder)
    flows = {flow.step: flow for flow in run.flows if flow.step is not None}
    if not flows:
        raise FileNotFoundError(
            f"{run.folder / FLOW} does not exist: train with --gradient-flow N to measure every N "
            "steps, or leave out --step to measure now."
        )
    if step not in flows:
        nearest = min(flows, key=lambda measured: abs(measured - step))
        raise ValueError(
            f"{run.folder / FLOW} has no step {step}; the nearest measured one is {nearest}."
        )
    return flows[step]

"""npgpt flow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from npgpt.cli.app import console, tells_errors
from npgpt.cli.model_argument import Checkpoint, RunFolder, check_checkpoint


@tells_errors
def flow_command(
    run_folder: RunFolder,
    step: Annotated[
        int | None,
        typer.Option(
            help="Show what training measured at this step (see npgpt train --gradient-flow), "
            "instead of measuring now.",
            min=1,
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it, as a PNG, to this file.", metavar="FILE")
    ] = None,
    checkpoint: Checkpoint = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how activations and gradients flow through a model, layer by layer.

    Norms of activations and of the gradients that reach them, dead units, attention entropy; of
    every layer's weights the norm and the gradient. One batch of held-out text is measured.

    [bold]Examples[/bold]

      npgpt flow runs/python-docs-1

      npgpt flow runs/python-docs-1 --plot flow.png

      npgpt flow runs/python-docs-1 --step 100 --json
    """
    from npgpt.gradients import gradient_flow
    from npgpt.gradients.flow_plot import plot_flow
    from npgpt.training import Run

    check_checkpoint(checkpoint)
    run = Run.open(run_folder)
    if step is None:
        from npgpt.cli.progress import compile_kernels

        model = run.load_model(checkpoint)
        compile_kernels(console)
        flow = gradient_flow(model, *next(iter(run.held_out_batches())))
        title = f"{run.folder.name}, {checkpoint} checkpoint"
    else:
        flow = _measured_at(run, step)
        title = f"{run.folder.name}, step {step}"
    if plot is not None:
        plot_flow(flow, plot, title)
    if as_json:
        print(json.dumps(flow.to_dict()))
        return
    console.print(str(flow), markup=False, soft_wrap=True)
    if plot is not None:
        console.print(f"Plot: {plot}", soft_wrap=True)


def _measured_at(run, step: int):
    from npgpt.training.run import FLOW

    flows = {flow.step: flow for flow in run.flows}
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

"""npgpt gradcheck."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.live import Live

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.console import console
from npgpt.cli.shared.tables import make_table


@tells_errors
def gradcheck_command(
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Check layers whose name contains this; may be given several times."),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Whose backward passes to check: compiled or reference.", show_default="compiled"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and inputs.")] = 0,
) -> None:
    """Check the backward pass of every layer, and of whole models, against its forward pass.

    Central differences must agree to 1e-6 and complex steps to 1e-11, relative to the largest
    gradient of each array. Exit status 1 if one does not.

    [bold]Examples[/bold]

      npgpt gradcheck

      npgpt gradcheck --layer LayerNorm --backend reference
    """
    from npgpt import ops
    from npgpt.gradients import SUITE, check_suite

    backend = backend or ops.backend()
    if backend not in ops.BACKENDS:
        raise typer.BadParameter(f"--backend must be one of {', '.join(ops.BACKENDS)}.")
    names = [
        name for name in SUITE if not layer or any(part.lower() in name.lower() for part in layer)
    ]
    if not names:
        kinds = dict.fromkeys(name.partition(" (")[0] for name in SUITE)
        raise typer.BadParameter(f"no layer matches; there are {', '.join(kinds)}.")

    title = f"Gradient checks, {backend} backend"
    table = make_table(title, "layer", "arrays", "central difference", "complex step")
    table.add_column("verdict")
    failed = []
    live = Live(table, console=console) if console.is_terminal else None
    with ops.use(backend):
        if live:
            live.start()
        try:
            for name in names:
                reports = [
                    report
                    for method in ("central", "complex")
                    for _, report in check_suite(method, [name], seed)
                ]
                failed += [report for report in reports if not report.passed]
                all_passed = all(report.passed for report in reports)
                verdict = "passed" if all_passed else console.styled("FAILED", "bold red")
                errors = [f"{report.max_error:.1e}" for report in reports]
                table.add_row(name, str(len(reports[0].arrays)), *errors, verdict)
        finally:
            if live:
                live.stop()
            else:
                console.print(table)
    for report in failed:
        console.print(str(report), soft_wrap=True)
    if failed:
        raise typer.Exit(1)

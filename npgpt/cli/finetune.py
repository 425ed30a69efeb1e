"""npgpt finetune."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from npgpt.cli.app import HELP, console, tells_errors
from npgpt.cli.shared.arguments import Model
from npgpt.cli.shared.options import refuse_settings, usage_errors, with_options
from npgpt.cli.shared.training import next_free_folder, train
from npgpt.data.splits import WORDS
from npgpt.finetuning import FineTuningConfig
from npgpt.finetuning.config import DEFAULTS, settings_of
from npgpt.runs import FineTuningRun
from npgpt.runs.folder import ADAPTER
from npgpt.training import Trainer

finetune = typer.Typer(
    no_args_is_help=True,
    help="Fine-tune a model: to classify texts, to follow instructions, or to preferences.",
    epilog="Start with: npgpt finetune classify runs/python-source-1",
    context_settings=HELP,
)
Out = Annotated[
    Path | None, typer.Option(help="Run folder to make; by default runs/TASK-1, -2, ...")
]
Resume = Annotated[bool, typer.Option("--resume", help="MODEL is a run of this command: go on.")]


def of_task(task: str) -> Callable[[Callable], Callable]:
    """Give a command the options of a task; a decorator."""
    names = [name for name in settings_of(task) if name not in ("task", "base")]
    return with_options(FineTuningConfig, names=names, defaults=DEFAULTS[task])


@finetune.command("classify")
@tells_errors
@of_task("classify")
def finetune_classify(
    base: Model, out: Out = None, resume: Resume = False, **settings: Any
) -> None:
    """Make a classifier of texts, and test it: accuracy, measures of each class, confusion matrix.

    Without --data it learns to tell from which package of Python's standard library a docstring
    is. A .tsv file of two columns without a header has the label first, then the text.

    [bold]Examples[/bold]

      npgpt finetune classify runs/python-source-1

      npgpt finetune classify gpt2 --data reviews.csv --text-column review --method lora
    """
    run = _fine_tune("classify", base, out, resume, settings)
    from npgpt.cli.shared.finetune_report import report_classes

    report_classes(run)
    console.print(f'Next: npgpt classify {run.folder} "some text"', soft_wrap=True)


@finetune.command("instruct")
@tells_errors
@of_task("instruct")
def finetune_instruct(
    base: Model,
    samples: Annotated[
        int, typer.Option(min=0, help="Test records that both models respond to.")
    ] = 50,
    out: Out = None,
    resume: Resume = False,
    **settings: Any,
) -> None:
    """Teach a model to follow instructions, and compare it with its base on test records.

    A record has an instruction, an output, and perhaps an input. Without --data the model learns to
    write the first line of a function's docstring from its signature.

    [bold]Examples[/bold]

      npgpt finetune instruct runs/python-source-1

      npgpt finetune instruct gpt2 --data alpaca_data.json --method lora --packing
    """
    run = _fine_tune("instruct", base, out, resume, settings)
    from npgpt.cli.shared.finetune_report import report_responses

    report_responses(run, samples)
    console.print(f"Next: npgpt chat {run.folder}", soft_wrap=True)


@finetune.command("dpo")
@tells_errors
@of_task("dpo")
def finetune_dpo(base: Model, out: Out = None, resume: Resume = False, **settings: Any) -> None:
    """Tune a model to prefer the chosen of two responses (direct preference optimisation).

    A record has an instruction, perhaps an input, and the responses chosen and rejected. Without
    --data the model learns to prefer a function's own docstring to that of another function of its
    module.

    [bold]Examples[/bold]

      npgpt finetune dpo runs/instruct-1

      npgpt finetune dpo runs/instruct-1 --data preferences.jsonl --lr 5e-5
    """
    run = _fine_tune("dpo", base, out, resume, settings)
    from npgpt.cli.shared.finetune_report import report_preferences

    report_preferences(run)
    console.print(f'Next: npgpt generate {run.folder} "..."', soft_wrap=True)


def _fine_tune(
    task: str, base: str, out: Path | None, resume: bool, settings: dict[str, Any]
) -> FineTuningRun:
    if resume:
        refuse_settings(settings, out=out)
        run = FineTuningRun.open(base)
        if run.config.task != task:
            raise ValueError(f"{base} is a run of npgpt finetune {run.config.task}, not {task}.")
    else:
        with usage_errors():
            config = FineTuningConfig(task, base, **settings)
        with console.status("Reading the base model and the data"):
            run = FineTuningRun.create(out or next_free_folder(task), config)
    go_on = f"npgpt finetune {task} {run.folder} --resume"
    train(run, resume, lambda trainer: _introduction(run, trainer), go_on)
    if run.config.method == "lora":
        run.save_adapter()
        console.print(f"Adapter, as PEFT has it: {run.folder / ADAPTER}", soft_wrap=True)
    return run


def _introduction(run: FineTuningRun, trainer: Trainer) -> list[str]:
    parts = run.task.records.items()
    counts = ", ".join(f"{len(records):,} {WORDS[part]}" for part, records in parts)
    model = trainer.model
    trained, whole = model.num_parameters(trained_only=True), model.num_parameters()
    return [
        f"[bold]{run.config.data}[/bold]: {counts}",
        f"{run.config.method}: {trained:,} of {whole:,} parameters are trained "
        f"({100 * trained / whole:.1f} %)",
    ]

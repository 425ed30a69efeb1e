"""npgpt finetune."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from npgpt.cli.app import console, tells_errors
from npgpt.cli.finetune_options import (
    Alpha,
    BatchSize,
    Data,
    Epochs,
    EvalsPerEpoch,
    FromScratch,
    GradAccumulation,
    LearningRate,
    LmCoef,
    LoraDropout,
    Method,
    ModelDropout,
    Out,
    Patience,
    Rank,
    Resume,
    Seed,
    TargetModules,
    Template,
    TestData,
    WeightDecay,
)
from npgpt.cli.model_argument import Model
from npgpt.cli.run import fit, next_free_folder

finetune = typer.Typer(
    no_args_is_help=True,
    help="Fine-tune a model: to classify texts, to follow instructions, or to preferences.",
    epilog="Start with: npgpt finetune classify runs/python-source-1",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@finetune.command("classify")
@tells_errors
def classify_command(
    context: typer.Context,
    base: Model,
    data: Data = "docstrings",
    test_data: TestData = None,
    text_column: Annotated[str, typer.Option(help="Name of the texts' column.")] = "text",
    label_column: Annotated[str, typer.Option(help="Name of the labels' column.")] = "label",
    split_column: Annotated[
        str, typer.Option(help="Column with train, validation or test, if there is one.")
    ] = "split",
    out: Out = None,
    resume: Resume = False,
    method: Method = "full",
    rank: Rank = 8,
    alpha: Alpha = 16.0,
    lora_dropout: LoraDropout = 0.0,
    target_modules: TargetModules = None,
    from_scratch: FromScratch = False,
    epochs: Epochs = 4,
    batch_size: BatchSize = 16,
    grad_accumulation: GradAccumulation = 1,
    lr: LearningRate = None,
    dropout: ModelDropout = None,
    lm_coef: LmCoef = 0.0,
    weight_decay: WeightDecay = 0.01,
    evals_per_epoch: EvalsPerEpoch = 2,
    patience: Patience = 4,
    seed: Seed = 0,
) -> None:
    """Make a classifier of texts, and test it: accuracy, measures of each class, confusion matrix.

    Without --data it learns to tell from which package of Python's standard library a docstring
    is. A .tsv file of two columns without a header has the label first, then the text.

    [bold]Examples[/bold]

      npgpt finetune classify runs/python-source-1

      npgpt finetune classify gpt2 --data reviews.csv --text-column review --method lora
    """
    run = _fine_tune("classify", context, resume)
    _report_classes(run, run.task.report(run.load_model()))
    console.print(f'Next: npgpt classify {run.folder} "some text"', soft_wrap=True)


@finetune.command("instruct")
@tells_errors
def instruct_command(
    context: typer.Context,
    base: Model,
    data: Data = "docstrings",
    test_data: TestData = None,
    template: Template = "alpaca",
    mask_prompt: Annotated[
        bool, typer.Option(help="Learn from the response only, or from the prompt too.")
    ] = True,
    packing: Annotated[
        bool, typer.Option("--packing", help="Several records in each row of a batch.")
    ] = False,
    samples: Annotated[
        int, typer.Option(min=0, help="Test records that both models respond to.")
    ] = 50,
    out: Out = None,
    resume: Resume = False,
    method: Method = "full",
    rank: Rank = 8,
    alpha: Alpha = 16.0,
    lora_dropout: LoraDropout = 0.0,
    target_modules: TargetModules = None,
    epochs: Epochs = 2,
    batch_size: BatchSize = 16,
    grad_accumulation: GradAccumulation = 1,
    lr: LearningRate = None,
    dropout: ModelDropout = None,
    weight_decay: WeightDecay = 0.01,
    evals_per_epoch: EvalsPerEpoch = 2,
    patience: Patience = 4,
    seed: Seed = 0,
) -> None:
    """Teach a model to follow instructions, and compare it with its base on held-out records.

    A record has an instruction, an output, and perhaps an input. Without --data the model learns to
    write the first line of a function's docstring from its signature.

    [bold]Examples[/bold]

      npgpt finetune instruct runs/python-source-1

      npgpt finetune instruct gpt2 --data alpaca_data.json --method lora --packing
    """
    run = _fine_tune("instruct", context, resume)
    from npgpt.cli.finetune_report import report_responses

    report_responses(run, samples)
    console.print(f"Next: npgpt chat {run.folder}", soft_wrap=True)


@finetune.command("dpo")
@tells_errors
def dpo_command(
    context: typer.Context,
    base: Model,
    data: Annotated[
        str,
        typer.Option(
            help="A .csv, .tsv, .json or .jsonl file with instruction, chosen and rejected, or "
            "docstrings."
        ),
    ] = "docstrings",
    test_data: TestData = None,
    template: Template = "alpaca",
    beta: Annotated[float, typer.Option(help="How much leaving the base model costs.")] = 0.1,
    out: Out = None,
    resume: Resume = False,
    method: Method = "full",
    rank: Rank = 8,
    alpha: Alpha = 16.0,
    lora_dropout: LoraDropout = 0.0,
    target_modules: TargetModules = None,
    epochs: Epochs = 2,
    batch_size: BatchSize = 8,
    grad_accumulation: GradAccumulation = 1,
    lr: LearningRate = None,
    dropout: ModelDropout = None,
    weight_decay: WeightDecay = 0.01,
    evals_per_epoch: EvalsPerEpoch = 2,
    patience: Patience = 4,
    seed: Seed = 0,
) -> None:
    """Tune a model to prefer the chosen of two responses (direct preference optimisation).

    A record has an instruction, perhaps an input, and the responses chosen and rejected. Without
    --data the model learns to prefer a function's own docstring to that of another function of its
    module.

    [bold]Examples[/bold]

      npgpt finetune dpo runs/instruct-1

      npgpt finetune dpo runs/instruct-1 --data preferences.jsonl --lr 5e-5
    """
    run = _fine_tune("dpo", context, resume)
    _report_preferences(run)
    console.print(f'Next: npgpt generate {run.folder} "..."', soft_wrap=True)


def _fine_tune(task: str, context: typer.Context, resume: bool):
    from npgpt.cli.progress import Stopwatch, TrainingProgress, compile_kernels
    from npgpt.finetuning import FineTuningConfig
    from npgpt.runs import FineTuningRun

    settings = {k: v for k, v in context.params.items() if v not in (None, [], ())}
    base, out = settings.pop("base"), settings.pop("out", None)
    if resume:
        _refuse_settings(context)
        run = FineTuningRun.open(base)
    else:
        for name in ("resume", "context", "samples"):
            settings.pop(name, None)
        try:
            config = FineTuningConfig(task=task, base=base, **settings)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        with console.status("Reading the base model and the data"):
            run = FineTuningRun.create(out or next_free_folder(task), config)
    watch = Stopwatch()
    compile_kernels(console, run.model_config)
    with console.status("Preparing the first step"):
        trainer = run.trainer([TrainingProgress(console)])
    _introduce(run, trainer)
    go_on = f"npgpt finetune {task} {run.folder} --resume"
    state = fit(trainer, resume, lambda: _draw(run), go_on)
    early = ", early" if trainer.is_stopped_early() else ""
    console.print(
        f"Done in {watch}{early}: validation loss {state.best_loss:.3f} at step {state.best_step}."
    )
    if run.config.method == "lora":
        run.save_adapter()
        console.print(f"Adapter, as PEFT has it: {run.folder / 'adapter'}", soft_wrap=True)
    return run


def _refuse_settings(context: typer.Context) -> None:
    given = [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
        and name not in ("base", "resume", "samples")
    ]
    if given:
        raise typer.BadParameter(
            f"a resumed run keeps its settings, so leave out: {', '.join(given)}."
        )


def _introduce(run, trainer) -> None:
    counts = ", ".join(f"{len(records):,} {part}" for part, records in run.task.records.items())
    console.print(f"[bold]{run.config.data}[/bold]: {counts}", soft_wrap=True)
    model = trainer.model
    trained, whole = model.num_parameters(trained_only=True), model.num_parameters()
    console.print(
        f"{run.config.method}: {trained:,} of {whole:,} parameters are trained "
        f"({100 * trained / whole:.1f} %)"
    )
    console.print(f"Run folder: {run.folder}", soft_wrap=True)


def _draw(run) -> None:
    from npgpt.plots.training import plot_loss
    from npgpt.runs.pretraining import PLOT

    if run.metrics:
        item = {"classify": "text", "instruct": "token", "dpo": "pair"}[run.config.task]
        plot_loss(run.metrics, run.folder / PLOT, f"npgpt: {run.folder.name}", item)


def _report_classes(run, report: Any) -> None:
    from npgpt.cli.finetune_report import print_classes
    from npgpt.plots.finetuning import plot_confusion

    print_classes(report)
    path = run.folder / "confusion.png"
    plot_confusion(report, path, f"npgpt: {run.folder.name}")
    console.print(f"Confusion matrix: {path}", soft_wrap=True)


def _report_preferences(run) -> None:
    from npgpt.cli.finetune_report import print_preferences
    from npgpt.plots.finetuning import plot_rewards

    base, tuned = run.test_preferences()
    print_preferences(base, tuned, len(run.task.records["test"]))
    path = run.folder / "rewards.png"
    plot_rewards(run.metrics, path, f"npgpt: {run.folder.name}")
    console.print(f"Rewards: {path}", soft_wrap=True)

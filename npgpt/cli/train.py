"""npgpt train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npgpt.cli.app import console, tells_errors
from npgpt.cli.run import fit, next_free_folder

DATA, MODEL, ARCHITECTURE = "Text", "Model", "Architecture"
OPTIMISATION = "Optimisation"


@tells_errors
def train_command(
    context: typer.Context,
    corpus: Annotated[
        str,
        typer.Argument(
            help="python-docs (the help texts that come with Python), python-source (its standard "
            "library), or the path of a text file, of a folder with .txt, .md and .jsonl files, or "
            "a glob in quotes; - reads standard input. Files may be packed (.gz). A folder of "
            "npgpt tokenize is trained on as it is."
        ),
    ] = "python-docs",
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder to make; by default runs/CORPUS-1, -2, ...", metavar="RUN"),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with this run, bit for bit as if it had not stopped.", metavar="RUN"
        ),
    ] = None,
    tokenizer: Annotated[
        str,
        typer.Option(
            help="bpe (byte pairs), char, word, gpt2, or the path of a tokenizer.",
            rich_help_panel=DATA,
        ),
    ] = "bpe",
    vocab_size: Annotated[
        int, typer.Option(help="Tokens of a bpe vocabulary.", min=1, rich_help_panel=DATA)
    ] = 1024,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the text that is held out.", rich_help_panel=DATA)
    ] = 0.1,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Tokens between the starts of training windows.",
            min=1,
            show_default="the context length",
            rich_help_panel=DATA,
        ),
    ] = None,
    field: Annotated[
        str, typer.Option(help="Where the text is in a line of .jsonl.", rich_help_panel=DATA)
    ] = "text",
    errors: Annotated[
        str,
        typer.Option(
            help="Bytes that are not UTF-8: strict (an error), replace, or ignore.",
            rich_help_panel=DATA,
        ),
    ] = "strict",
    context_length: Annotated[
        int, typer.Option("--context-length", "--context", min=1, rich_help_panel=MODEL)
    ] = 64,
    n_layers: Annotated[
        int, typer.Option("--n-layers", "--layers", min=1, rich_help_panel=MODEL)
    ] = 2,
    n_heads: Annotated[int, typer.Option("--n-heads", "--heads", min=1, rich_help_panel=MODEL)] = 4,
    d_model: Annotated[
        int, typer.Option(help="Width; a multiple of the heads.", min=1, rich_help_panel=MODEL)
    ] = 128,
    dropout: Annotated[float, typer.Option(rich_help_panel=MODEL)] = 0.0,
    bias: Annotated[bool, typer.Option(rich_help_panel=MODEL)] = True,
    tie_embeddings: Annotated[
        bool, typer.Option(help="Share the output head's weight.", rich_help_panel=MODEL)
    ] = True,
    position: Annotated[
        str,
        typer.Option(
            help="How positions enter: learned, sinusoidal, t5, alibi, rope, none.",
            rich_help_panel=ARCHITECTURE,
        ),
    ] = "learned",
    norm: Annotated[
        str, typer.Option(help="layer, rms or none.", rich_help_panel=ARCHITECTURE)
    ] = "layer",
    norm_position: Annotated[
        str,
        typer.Option(
            help="pre: before each branch; post: after each shortcut.", rich_help_panel=ARCHITECTURE
        ),
    ] = "pre",
    activation: Annotated[
        str,
        typer.Option(help="gelu, gelu_exact, relu or swiglu.", rich_help_panel=ARCHITECTURE),
    ] = "gelu",
    d_ff: Annotated[
        int | None,
        typer.Option(
            help="Width of the feed-forward layers.",
            min=1,
            show_default="4 d_model; swiglu 8/3 d_model",
            rich_help_panel=ARCHITECTURE,
        ),
    ] = None,
    shortcut: Annotated[
        bool,
        typer.Option(help="Add what a branch reads to its output.", rich_help_panel=ARCHITECTURE),
    ] = True,
    n_kv_heads: Annotated[
        int | None,
        typer.Option(
            "--n-kv-heads",
            "--kv-heads",
            help="Heads of keys and values, each shared by a group of query heads.",
            min=1,
            show_default="the heads",
            rich_help_panel=ARCHITECTURE,
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Positions that a query sees, itself and those before it.",
            min=1,
            show_default="all of the past",
            rich_help_panel=ARCHITECTURE,
        ),
    ] = None,
    qkv_bias: Annotated[
        bool | None,
        typer.Option(
            help="Biases of queries, keys and values.",
            show_default="as --bias",
            rich_help_panel=ARCHITECTURE,
        ),
    ] = None,
    rope_theta: Annotated[
        float,
        typer.Option(help="Base of rotary positions' wavelengths.", rich_help_panel=ARCHITECTURE),
    ] = 10000.0,
    steps: Annotated[int, typer.Option(min=1, rich_help_panel=OPTIMISATION)] = 1200,
    batch_size: Annotated[int, typer.Option(min=1, rich_help_panel=OPTIMISATION)] = 12,
    grad_accumulation: Annotated[
        int, typer.Option(help="Batches a step.", min=1, rich_help_panel=OPTIMISATION)
    ] = 1,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Compute each block again for backward: less memory, about a third more work.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = False,
    lr: Annotated[
        float, typer.Option(help="Highest learning rate.", min=0, rich_help_panel=OPTIMISATION)
    ] = 3e-3,
    min_lr: Annotated[
        float | None,
        typer.Option(
            help="Rate at the end.", min=0, show_default="lr / 10", rich_help_panel=OPTIMISATION
        ),
    ] = None,
    warmup_steps: Annotated[
        int | None,
        typer.Option(min=0, show_default="steps / 20", rich_help_panel=OPTIMISATION),
    ] = None,
    beta1: Annotated[float, typer.Option(rich_help_panel=OPTIMISATION)] = 0.9,
    beta2: Annotated[float, typer.Option(rich_help_panel=OPTIMISATION)] = 0.99,
    weight_decay: Annotated[float, typer.Option(min=0, rich_help_panel=OPTIMISATION)] = 0.1,
    clip_norm: Annotated[
        float,
        typer.Option(
            help="Largest gradient norm; 0 does not clip.", min=0, rich_help_panel=OPTIMISATION
        ),
    ] = 1.0,
    eval_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between evaluations and checkpoints.",
            min=1,
            show_default="steps / 5",
            rich_help_panel=OPTIMISATION,
        ),
    ] = None,
    eval_batches: Annotated[
        int,
        typer.Option(
            help="Batches of an evaluation; 0 is all.", min=0, rich_help_panel=OPTIMISATION
        ),
    ] = 0,
    gradient_flow: Annotated[
        int,
        typer.Option(
            help="Measure every N steps how gradients flow, for RUN/gradient_flow.jsonl and .png; "
            "0 does not.",
            min=0,
            metavar="N",
            rich_help_panel=OPTIMISATION,
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=OPTIMISATION)] = 0,
) -> None:
    """Train a GPT on a text, from scratch.

    Without arguments it learns from Python's own help texts, in under two minutes on two cores.
    Ctrl-C saves the run and says how to go on.

    [bold]Examples[/bold]

      npgpt train

      npgpt train shakespeare.txt --tokenizer char --steps 2000 --out runs/shakespeare

      zcat texts.gz | npgpt train - --out runs/texts

      npgpt train --position rope --norm rms --activation swiglu --n-kv-heads 2 --no-bias

      npgpt train --resume runs/shakespeare
    """
    from npgpt.runs import Run, TrainingConfig

    if resume is not None:
        _refuse_settings(context)
        _train(Run.open(resume), resuming=True)
        return
    settings = {
        name: value
        for name, value in context.params.items()
        if name not in ("context", "out", "resume")
    }
    try:
        config = TrainingConfig(**settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    from npgpt.cli.progress import COMPILING_TOKENIZER, progress_bar

    with progress_bar(console, "Training the tokenizer", COMPILING_TOKENIZER) as progress:
        run = Run.create(out or _folder_for(corpus), config, progress)
    _train(run, resuming=False)


def _refuse_settings(context: typer.Context) -> None:
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [
        name
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE" and name != "resume"
    ]
    if given:
        names = ", ".join(given)
        raise typer.BadParameter(f"a resumed run keeps its settings, so leave out: {names}.")


def _folder_for(corpus: str) -> Path:
    stem = "stdin" if corpus == "-" else Path(corpus.replace("*", "")).stem or "text"
    return next_free_folder(stem)


def _train(run, resuming: bool) -> None:
    from npgpt.cli.progress import Stopwatch, TrainingProgress, compile_kernels, sample_text

    watch = Stopwatch()
    compile_kernels(console, run.model_config)
    seed = run.config.seed
    progress = TrainingProgress(console, lambda model: sample_text(model, run.tokenizer, seed))
    trainer = run.trainer([progress])
    _introduce(run, trainer)
    go_on = f"npgpt train --resume {run.folder}"
    state = fit(trainer, resuming, lambda: _draw(run), go_on)
    _conclude(run, state, watch)


def _introduce(run, trainer) -> None:
    corpus = run.corpus
    train_tokens = len(trainer.train_loader.dataset.ids)
    console.print(
        f"[bold]{corpus.name}[/bold]: {corpus.size}, "
        f"{train_tokens:,} tokens to train on, vocabulary of {run.tokenizer.vocab_size:,} "
        f"({type(run.tokenizer).__name__})"
    )
    config = run.config
    console.print(
        f"GPT of {trainer.model.num_parameters():,} parameters: {config.n_layers} layers, "
        f"{config.n_heads} heads, d_model {config.d_model}, context {config.context_length}"
        + _choices(run.model_config)
    )
    console.print(f"Run folder: {run.folder}", soft_wrap=True)


def _choices(config) -> str:
    """Say in what a model differs from GPT-2, if it does."""
    import dataclasses

    differing = [
        f"{field.name} {getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if field.default is not dataclasses.MISSING and getattr(config, field.name) != field.default
    ]
    return f"; {', '.join(differing)}" if differing else ""


def _draw(run) -> None:
    from npgpt.plots.flow import plot_flow_history
    from npgpt.plots.training import plot_loss
    from npgpt.runs.pretraining import FLOW_PLOT, PLOT

    metrics, flows = run.metrics, run.flows
    if metrics:
        plot_loss(metrics, run.folder / PLOT, f"npgpt: {run.folder.name}")
    if flows:
        plot_flow_history(flows, run.folder / FLOW_PLOT, f"npgpt: {run.folder.name}")


def _conclude(run, state, watch) -> None:
    from rich.text import Text

    from npgpt.cli.progress import sample_text
    from npgpt.runs.pretraining import PLOT

    console.print(
        f"Done in {watch}: held-out loss {state.best_loss:.3f} at step {state.best_step}. "
        "The model writes:"
    )
    text = sample_text(run.load_model(), run.tokenizer, run.config.seed + 1, max_new_tokens=200)
    console.print(Text(text), soft_wrap=True)
    console.print(f"Loss curve: {run.folder / PLOT}", soft_wrap=True)
    console.print(f'Next: npgpt generate {run.folder} "The"', soft_wrap=True)

"""npgpt train."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.console import console, shown_on
from npgpt.cli.shared.options import refuse_settings, usage_errors, with_options
from npgpt.cli.shared.training import next_free_folder, train
from npgpt.data import TokenStreams, TokenWindows
from npgpt.fields import names_of
from npgpt.files import quoted
from npgpt.models import MODELS, LanguageModel, ModelConfig
from npgpt.runs import DataConfig, OptimisationConfig, PretrainingRun, RunConfig
from npgpt.runs.config import FAMILY, SHAPE, families_of_text
from npgpt.runs.folder import LOSS_PLOT
from npgpt.tokenizers import Tokenizer
from npgpt.training import Trainer

# of several families' options of one name the help is the first's
FAMILIES = sorted(families_of_text(), key=lambda kind: kind != FAMILY)

# how an introduction says the shape, as far as a model has it
SHAPE_WORDS = {
    "n_layers": "{} layers",
    "n_heads": "{} heads",
    "d_model": "d_model {}",
    "context_length": "context {}",
}


@tells_errors
@with_options(
    DataConfig,
    *(MODELS[kind].Config for kind in FAMILIES),
    OptimisationConfig,
    defaults=SHAPE,
    arguments=("corpus",),
)
def train_command(
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
    model: Annotated[
        str | None,
        typer.Option(help=f"The family of models: {', '.join(FAMILIES)}.", show_default=FAMILY),
    ] = None,
    **settings: Any,
) -> None:
    """Train a GPT on a text, from scratch.

    Without arguments it learns from Python's own help texts, in under two minutes on two cores.
    Ctrl-C saves the run and says how to go on.

    [bold]Examples[/bold]

      npgpt train

      npgpt train shakespeare.txt --tokenizer char --steps 2000 --out runs/shakespeare

      zcat texts.gz | npgpt train - --out runs/texts

      npgpt train --position rope --norm rms --activation swiglu --n-kv-heads 2 --no-bias

      npgpt train shakespeare.txt --tokenizer char --model lstm --bptt 64

      npgpt train --resume runs/shakespeare
    """
    from npgpt.cli.shared.progress import COMPILING_TOKENIZER, progress_bar, sample_text

    if resume is not None:
        refuse_settings(settings, out=out, model=model)
        run = PretrainingRun.open(resume)
    else:
        with usage_errors():
            config = RunConfig(model or FAMILY, **settings)
        folder = out or next_free_folder(_stem(config.corpus))
        with progress_bar(console, "Training the tokenizer", COMPILING_TOKENIZER) as progress:
            run = PretrainingRun.create(folder, config, progress)
    seed, writes = run.config.seed, issubclass(run.config.family, LanguageModel)
    train(
        run,
        resume is not None,
        lambda trainer: _introduction(run, trainer),
        f"npgpt train --resume {quoted(run.folder)}",
        sample=(lambda model: sample_text(model, run.tokenizer, seed)) if writes else None,
    )
    if writes:
        console.print("The model writes:")
        text = sample_text(run.load_model(), run.tokenizer, seed + 1, max_new_tokens=200)
        print(shown_on(sys.stdout, text))
    if (run.folder / LOSS_PLOT).is_file():
        console.print(f"Loss curve: {run.folder / LOSS_PLOT}", soft_wrap=True)
    if not writes:
        console.print(f"Next: npgpt eval {quoted(run.folder)}", soft_wrap=True)
        return
    prompt = ' "The"' if _can_read(run.tokenizer, "The") else ""
    console.print(f"Next: npgpt generate {quoted(run.folder)}{prompt}", soft_wrap=True)


def _can_read(tokenizer: Tokenizer, text: str) -> bool:
    try:
        return len(tokenizer.encode(text)) > 0
    except ValueError:  # a character that the vocabulary lacks
        return False


def _stem(corpus: str) -> str:
    return "stdin" if corpus == "-" else Path(corpus.replace("*", "")).stem or "text"


def _introduction(run: PretrainingRun, trainer: Trainer) -> list[str | Text]:
    corpus, tokenizer, config = run.corpus, run.tokenizer, run.model_config
    shape = [
        words.format(getattr(config, name))
        for name, words in SHAPE_WORDS.items()
        if name in names_of(type(config))
    ]
    return [
        console.styled(
            corpus.name,
            rest=f": {corpus.size}, {len(run.windows[0].ids):,} tokens to train on, vocabulary of "
            f"{tokenizer.vocab_size:,} ({type(tokenizer).__name__})",
        ),
        f"{type(trainer.model).__name__} of {trainer.model.num_parameters():,} parameters: "
        + ", ".join(shape)
        + _choices(config),
        *_streams(run.windows[0]),
    ]


def _streams(cut: TokenWindows | TokenStreams) -> list[str | Text]:
    """Say how a text is read that is not cut in windows."""
    if isinstance(cut, TokenWindows):
        return []
    return [
        f"Truncated backpropagation: {cut.num_streams} streams, {cut.piece_length} tokens a step, "
        "with the state carried on"
    ]


def _choices(config: ModelConfig) -> str:
    """Say in what a model differs from its family's defaults, if it does."""
    differing = [
        f"{field.name} {getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if field.default is not dataclasses.MISSING and getattr(config, field.name) != field.default
    ]
    return f"; {', '.join(differing)}" if differing else ""

"""npgpt train."""

from __future__ import annotations

import sys
from collections.abc import Container
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.arguments import open_trained
from npgpt.cli.shared.console import console, shown_on
from npgpt.cli.shared.options import refuse_settings, usage_errors, with_options
from npgpt.cli.shared.training import described, next_free_folder, train
from npgpt.data import TokenStreams, TokenWindows
from npgpt.data.masking import MASK
from npgpt.files import quoted
from npgpt.models import MODELS, LanguageModel
from npgpt.models.sequence_to_sequence import SequenceToSequence, translators
from npgpt.runs import (
    DataConfig,
    OptimisationConfig,
    PairOptimisationConfig,
    PairsConfig,
    PretrainingRun,
    Run,
    RunConfig,
    TranslationConfig,
    TranslationRun,
)
from npgpt.runs.config import FAMILY, SHAPE, families_of_text
from npgpt.runs.folder import LOSS_PLOT
from npgpt.runs.translation_config import FAMILY as PAIRS_FAMILY
from npgpt.runs.translation_config import SHAPE as PAIRS_SHAPE
from npgpt.tokenizers import Tokenizer
from npgpt.training import Trainer

# of several families' options of one name the help is the first's
FAMILIES = sorted(families_of_text(), key=lambda kind: kind != FAMILY)

TRANSLATORS = sorted(translators(), key=lambda name: name != PAIRS_FAMILY)
CONFIGS_OF_PAIRS = (
    PairsConfig,
    *(translators()[name].Config for name in TRANSLATORS),
    PairOptimisationConfig,
)


@tells_errors
@with_options(
    DataConfig,
    *(MODELS[kind].Config for kind in FAMILIES),
    OptimisationConfig,
    others={"With --pairs": (CONFIGS_OF_PAIRS, PAIRS_SHAPE)},
    without=("source_vocab_size",),  # the tokenizers say it
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
        typer.Option(
            help=f"The family of models: of a text {', '.join(FAMILIES)}; of --pairs "
            f"{', '.join(TRANSLATORS)}.",
            show_default=f"{FAMILY}; with --pairs {PAIRS_FAMILY}",
        ),
    ] = None,
    **settings: Any,
) -> None:
    """Train a model from scratch: a language model on a text, or one that translates on --pairs.

    Without arguments a GPT learns from Python's own help texts, in under two minutes on two cores.
    --model lstm, gru or rnn remembers in a state, conv sees a few positions at a time. With
    --pairs, or --model transformer or rnn-attention, it learns to translate, dates if nothing
    else is named; --model rnn with --pairs has an encoder and a decoder, without it is a language
    model. Ctrl-C saves the run and says how to go on.

    [bold]Examples[/bold]

      npgpt train

      npgpt train shakespeare.txt --tokenizer char --steps 2000 --out runs/shakespeare

      zcat texts.gz | npgpt train - --out runs/texts

      npgpt train --position rope --norm rms --activation swiglu --n-kv-heads 2 --no-bias

      npgpt train shakespeare.txt --tokenizer char --model lstm --bptt 64

      npgpt train --model transformer --out runs/dates

      npgpt train --model rnn-attention --pairs gettext:de --out runs/messages

      npgpt train --resume runs/shakespeare
    """
    from npgpt.cli.shared.progress import COMPILING_TOKENIZER, progress_bar
    from npgpt.cli.shared.translation import train_translator

    run: Run
    if resume is not None:
        refuse_settings(settings, out=out, model=model)
        run = open_trained(resume)
    else:
        kind = TranslationConfig if _translates(model, settings) else RunConfig
        with usage_errors():
            config = kind(model, **settings)
        name = config.pairs if kind is TranslationConfig else config.corpus
        folder = out or next_free_folder(_stem(name))
        with progress_bar(console, "Training the tokenizer", COMPILING_TOKENIZER) as progress:
            run = Run.create(folder, config, progress)
    if isinstance(run, TranslationRun):
        train_translator(run, resume is not None)
    elif isinstance(run, PretrainingRun):
        _train_on_text(run, resume is not None)


def _translates(model: str | None, settings: Container[str]) -> bool:
    """Say whether it is pairs that are learned: where they are given, or the model needs them."""
    family = TranslationConfig.families().get(model or "") or MODELS.get(model or "")
    needs_pairs = family is not None and issubclass(family, SequenceToSequence)
    return "pairs" in settings or (needs_pairs and model not in FAMILIES)


def _train_on_text(run: PretrainingRun, resuming: bool) -> None:
    from npgpt.cli.shared.progress import sample_text

    seed, writes = run.config.seed, issubclass(run.config.family, LanguageModel)
    train(
        run,
        resuming,
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
        console.print(
            f'Next: npgpt fill {quoted(run.folder)} "The {MASK} statement"', soft_wrap=True
        )
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
    corpus, tokenizer = run.corpus, run.tokenizer
    return [
        console.styled(
            corpus.name,
            rest=f": {corpus.size}, {len(run.windows[0].ids):,} tokens to train on, vocabulary of "
            f"{tokenizer.vocab_size:,} ({type(tokenizer).__name__})",
        ),
        described(trainer.model),
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

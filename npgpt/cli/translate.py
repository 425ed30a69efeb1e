"""npgpt translate."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.arguments import AsJson, Checkpoint, check_checkpoint
from npgpt.cli.shared.console import error_console, shown_on
from npgpt.cli.shared.pictures import draw
from npgpt.cli.shared.texts import read_texts

if TYPE_CHECKING:
    from npgpt.generation import TranslatedText
    from npgpt.runs import TranslationRun


@tells_errors
def translate_command(
    run_folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder of npgpt train --pairs."),
    ],
    text: Annotated[
        str | None,
        typer.Argument(
            help="A source to translate; - reads standard input, as does nothing at all in a pipe: "
            "a source each line."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Translate the lines of a file instead, of UTF-8.", metavar="FILE"),
    ] = None,
    beams: Annotated[
        int,
        typer.Option(
            "--beams",
            "--num-beams",
            min=1,
            help="Beginnings of translations that are kept; 1 takes the likeliest token each time.",
        ),
    ] = 1,
    length_penalty: Annotated[
        float,
        typer.Option(
            help="A power of the length, by which log-probabilities are divided; above 1 prefers "
            "long ones."
        ),
    ] = 1.0,
    penalty: Annotated[
        str,
        typer.Option(help="What that is a power of: power, the length, or gnmt, (5 + length) / 6."),
    ] = "power",
    n_best: Annotated[
        int,
        typer.Option(
            min=1,
            help="Translations of each source, at most --beams; above 1, each line has the number "
            "of the source, the score and the translation, with tabs between them.",
        ),
    ] = 1,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Of a translation.", show_default="the run's context"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Sources at a time.")] = 64,
    align: Annotated[
        Path | None,
        typer.Option(
            help="Draw where the model looked in a single source, as a PNG.", metavar="PICTURE"
        ),
    ] = None,
    checkpoint: Checkpoint = "best",
    as_json: AsJson = False,
) -> None:
    """Translate with a model that npgpt train --pairs has made.

    Standard output has a line for each source, in their order, and nothing else. A source that the
    model cannot read is an error that names the line, and nothing is translated then.

    [bold]Examples[/bold]

      npgpt translate runs/dates-1 "the 14th of March, 1987"

      npgpt translate runs/dates-1 "Sat 14 Mar 1987" --beams 4 --n-best 4

      npgpt translate runs/dates-1 "14 March 1987" --align alignment.png

      npgpt translate runs/messages --file messages.txt --beams 4 > translations.txt
    """
    from npgpt.cli.shared.progress import progress_bar
    from npgpt.generation import LENGTH_PENALTIES, translate_texts
    from npgpt.runs import TranslationRun

    check_checkpoint(checkpoint)
    if n_best > beams:
        raise typer.BadParameter(f"--n-best {n_best} needs --beams of at least {n_best}.")
    if penalty not in LENGTH_PENALTIES:
        raise typer.BadParameter(f"--penalty must be one of {', '.join(LENGTH_PENALTIES)}.")
    run = TranslationRun.open(run_folder)
    texts = read_texts([] if text is None else [text], file)
    sources = [(where, source.strip()) for where, source in texts]
    if align is not None and len(sources) > 1:
        raise typer.BadParameter(f"--align draws one source, and there are {len(sources)}.")
    _check(sources, run)
    model = run.load_translator(checkpoint)
    with progress_bar(error_console, "Translating") as progress:
        found = translate_texts(
            model,
            run.tokenizer,
            [source for _, source in sources],
            batch_size=batch_size,
            max_new_tokens=max_new_tokens or run.config.context_length,
            num_beams=beams,
            length_penalty=length_penalty,
            penalty=penalty,
            num_best=n_best,
            alignments=align is not None,
            on_batch=progress,
        )
    _print(sources, found, n_best > 1, as_json)
    if align is not None:
        sys.stdout.flush()
        _draw(align, run, sources[0][1], found[0][0])


def _check(sources: Sequence[tuple[str, str]], run: TranslationRun) -> None:
    """Refuse what the model cannot read, before anything is translated."""
    from npgpt.data.left_out import is_unicode

    most = run.config.context_length
    for where, source in sources:
        if not source:
            raise ValueError(f"{where}: the source is empty.")
        if not is_unicode(source):
            raise ValueError(f"{where}: the source is not UTF-8.")
        try:
            (ids,) = run.tokenizer.encode_sources([source])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if len(ids) > most:
            raise ValueError(
                f"{where}: the source has {len(ids):,} tokens with its end, more than the {most:,} "
                "of the longest that the model has learned from; cut it in parts."
            )


def _print(
    sources: Sequence[tuple[str, str]],
    found: Sequence[Sequence[TranslatedText]],
    with_scores: bool,
    as_json: bool,
) -> None:
    if as_json:
        told = [
            {
                "source": source,
                "translations": [
                    {name: getattr(best, name) for name in ("text", "score", "log_p")}
                    for best in of_one
                ],
            }
            for (_, source), of_one in zip(sources, found, strict=True)
        ]
        print(json.dumps({"results": told}))
        return
    for number, of_one in enumerate(found, 1):
        for best in of_one:
            line = " ".join(best.text.split("\n"))  # a line stays a line
            print(
                shown_on(sys.stdout, f"{number}\t{best.score:.4f}\t{line}" if with_scores else line)
            )


def _draw(path: Path, run: TranslationRun, source: str, best: TranslatedText) -> None:
    from npgpt.plots.translation import plot_alignment
    from npgpt.trace.token_text import labels_of

    draw(
        path,
        plot_alignment,
        best.alignment,
        labels_of(run.tokenizer.source, best.source_ids),
        labels_of(run.tokenizer.target, best.token_ids),
        path,
        f"{run.folder.name}: {source}",
    )

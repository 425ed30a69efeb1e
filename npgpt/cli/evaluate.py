"""npgpt eval."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.shared import masked_scores
from npgpt.cli.shared.arguments import (
    AsJson,
    Checkpoint,
    Dtype,
    Model,
    Plot,
    Revision,
    check_checkpoint,
    open_argument,
    open_bert_argument,
    translation_run,
)
from npgpt.cli.shared.console import console, shown_on
from npgpt.cli.shared.options import numbers_of, with_options
from npgpt.cli.shared.pictures import draw_last
from npgpt.cli.shared.tables import make_table, print_numbers
from npgpt.cli.shared.translation_scores import print_scores, score_run
from npgpt.data.questions import Question
from npgpt.evaluation.few_shot import FewShotResult
from npgpt.runs import DataConfig, OpenedModel, PretrainingRun, holds_bert

SHOTS = "0,1,5"
QUESTIONS, PAIRS = 100, 2000


@tells_errors
@with_options(DataConfig, names=("field", "errors"))
def evaluate_command(
    model: Model,
    text: Annotated[
        str | None,
        typer.Argument(help="A text file, folder or glob; by default the run's held-out text."),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tokens that each window predicts, after a past of the context's rest.",
            show_default="half the context",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Windows at a time.",
            show_default=f"1; of masked words {masked_scores.BATCH_SIZE}",
        ),
    ] = None,
    pseudo_perplexity: Annotated[
        bool,
        typer.Option(
            "--pseudo-perplexity",
            help="Of a model of masked words: mask each token in its turn, and all others stand.",
        ),
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(
            help="Ask questions instead: signatures, modules, or a file of records with question, "
            "answer and perhaps choices."
        ),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(
            help="Examples before each question; several numbers compare.", show_default=SHOTS
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Questions to ask, held-out pairs to translate, or tokens to mask with "
            "--pseudo-perplexity, evenly spread.",
            show_default=f"{QUESTIONS}; of pairs {PAIRS:,}; of tokens {masked_scores.TOKENS:,}",
        ),
    ] = None,
    beams: Annotated[
        int, typer.Option(min=1, help="Of a run of pairs: as of npgpt translate.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the examples' choice.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a task in which a record is empty.")
    ] = False,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print the first prompt, and ask nothing.")
    ] = False,
    plot: Plot = None,
    checkpoint: Checkpoint = "best",
    revision: Revision = None,
    dtype: Dtype = "float32",
    as_json: AsJson = False,
    **reading: Any,
) -> None:
    """Measure how well a model predicts text, or translates: loss, perplexity, bits per byte.

    The loss is the mean cross-entropy in nats a token. Bits per byte compares models with
    different tokenizers. A TEXT is read in overlapping windows, so that every token is predicted
    after a long past; the smaller --stride, the longer the past. With --dtype bfloat16 or int8 the
    loss in float32 is measured too, and the difference reported. A run of npgpt train --pairs
    translates held-out pairs: the share that is right of built-in tasks, BLEU and chrF of others.
    A model of masked words finds them: loss, and the share that is right.

    [bold]Examples[/bold]

      npgpt eval runs/python-docs-1

      npgpt eval runs/python-docs-1 README.md --json

      npgpt eval gpt2 README.md --stride 256

      npgpt eval gpt2 --task signatures --shots 0,1,5 --plot shots.png

      npgpt eval runs/dates --limit 500 --beams 4

      npgpt eval runs/masked README.md --pseudo-perplexity
    """
    if task is not None:
        all_shots = numbers_of(shots or SHOTS, f"--shots must be numbers such as {SHOTS}")
        if min(all_shots) < 0:
            raise typer.BadParameter("--shots must be at least 0.")
        if show_prompt:
            _print_prompt(task, all_shots[-1], seed, strict)
            return
        opened = open_argument(model, checkpoint, revision)
        _ask_questions(opened, task, all_shots, seed, limit or QUESTIONS, strict, as_json, plot)
        return
    if shots or show_prompt or plot or strict:
        raise typer.BadParameter("--shots, --show-prompt, --strict and --plot go with --task.")
    if (pairs_run := translation_run(model)) is not None:
        if text is not None or reading or stride or dtype != "float32":
            raise typer.BadParameter(
                f"{model} translates its held-out pairs: leave out TEXT, --field, --errors, "
                "--stride and --dtype."
            )
        check_checkpoint(checkpoint)
        scores = score_run(pairs_run, checkpoint, limit or PAIRS, beams)
        print_scores(scores, as_json)
        return
    if beams > 1:
        raise typer.BadParameter("--beams goes with a run of npgpt train --pairs.")
    from npgpt.cli.shared.progress import compile_kernels, counting_bar
    from npgpt.data import HeldOutBatches, StridedWindows, encode_documents, load_corpus
    from npgpt.layers.quantized import KINDS as FEWER_BITS
    from npgpt.models.config import check_is_gpt
    from npgpt.tokenizers import WordPieceTokenizer, WordTokenizer
    from npgpt.training import Evaluation, evaluate

    if holds_bert(model, revision):
        if stride or dtype != "float32":
            raise typer.BadParameter(
                "a model of masked words is measured in float32, on windows that do not overlap: "
                "leave out --stride and --dtype."
            )
        opened_bert = open_bert_argument(model, checkpoint, revision)
        corpus_of_bert = None if text is None else load_corpus(text, **reading)
        masked_scores.measure(
            opened_bert, corpus_of_bert, checkpoint, pseudo_perplexity, limit, batch_size, as_json
        )
        return
    if pseudo_perplexity:
        raise typer.BadParameter("--pseudo-perplexity goes with a model of masked words.")
    batch_size = batch_size or 1
    few_bits = dtype in FEWER_BITS
    opened = open_argument(model, checkpoint, revision, "float32" if few_bits else dtype)
    if few_bits:
        check_is_gpt(opened.model.config, f"dtype {dtype}")
    run, tokenizer = opened.run, opened.tokenizer
    context = opened.model.config.context_length
    batches: StridedWindows | HeldOutBatches
    text_bytes: int | None
    if text is not None:
        corpus = load_corpus(text, **reading)
        name = corpus.name
        ids, text_bytes = encode_documents(corpus.documents, tokenizer), corpus.num_bytes
        batches = strided(ids, context, stride, batch_size)
    elif not isinstance(run, PretrainingRun):
        raise typer.BadParameter(f"{model} is not a run with a held-out text: give a TEXT.")
    else:
        name = f"held-out part of {run.corpus.name}"
        ids, batches = run.windows[1].ids, run.held_out_batches()
        text_bytes = run.corpus.held_out_bytes()
        if stride is not None:
            batches = strided(ids, context, stride, batch_size)
    compile_kernels(console, opened.model.config)

    def measured(label: str) -> Evaluation:
        with counting_bar(console, label, len(batches)) as on_batch:
            lengths = tokenizer.bytes_per_token()
            found = evaluate(opened.model, batches, lengths, on_batch=on_batch)
        unknown = getattr(tokenizer, "unknown_id", None)
        loses = isinstance(tokenizer, (WordTokenizer, WordPieceTokenizer))
        lossy = loses or (unknown is not None and unknown in ids)
        if not lossy:
            return found
        if text_bytes is None:  # token files do not say what was lost
            return dataclasses.replace(found, num_bytes=None)
        # the text's own bytes, as far as its tokens were predicted
        share = found.tokens / (len(ids) - 1)
        return dataclasses.replace(found, num_bytes=round(text_bytes * share))

    result = measured("Evaluating")
    extra = {}
    if few_bits:
        extra["float32_loss"] = result.loss
        opened.model.quantize(dtype)
        result = measured(f"Evaluating in {dtype}")
        extra["loss_above_float32"] = result.loss - extra["float32_loss"]
    told = ("tokens", "loss", "perplexity", "bits_per_byte")
    numbers = {
        "text": name,
        "checkpoint": checkpoint,
        **{name: getattr(result, name) for name in told},
        "dtype": dtype,
        **extra,
    }
    print_numbers(numbers, as_json)


def strided(ids, context_length: int, stride: int | None, batch_size: int):
    """Cut a text into overlapping windows; a stride that is too large is a usage error."""
    from npgpt.data import StridedWindows

    if stride is not None and stride > context_length:
        raise typer.BadParameter(f"--stride must be at most the context, {context_length}.")
    return StridedWindows(ids, context_length, stride, batch_size)


def _ask_questions(
    opened: OpenedModel,
    task: str,
    shots: list[int],
    seed: int,
    limit: int,
    strict: bool,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Print, and perhaps draw, the accuracy of a model for each number of shots."""
    from npgpt.cli.shared.progress import counting_bar
    from npgpt.data.questions import read_questions
    from npgpt.evaluation.few_shot import chance, evaluate_few_shot
    from npgpt.plots.training import plot_few_shot

    questions = read_questions(task, strict)
    results = []
    for number in shots:
        total = min(limit, len(questions))
        with counting_bar(console, f"{number} shots", total) as on_question:
            results.append(
                evaluate_few_shot(
                    opened.model, opened.tokenizer, questions, number, seed, limit, on_question
                )
            )
    by_chance = chance(questions[:limit])
    if as_json:
        told = ("shots", "accuracy", "interval", "questions", "cut")
        lines = [{name: getattr(result, name) for name in told} for result in results]
        print(json.dumps({"task": task, "chance": by_chance, "results": lines}))
    else:
        _print_results(task, results, questions, by_chance)
    title = f"{Path(opened.name).name}: {task}"
    draw_last(plot, as_json, plot_few_shot, results, by_chance, plot, title)


def _print_results(
    task: str, results: list[FewShotResult], questions: list[Question], by_chance: float
) -> None:
    title = f"{task}: {results[0].questions} questions"
    table = make_table(title, "shots", "accuracy", "95 % interval", "prompts cut off")
    for result in results:
        low, high = result.interval
        table.add_row(
            str(result.shots), f"{result.accuracy:.3f}", f"{low:.3f} to {high:.3f}", str(result.cut)
        )
    console.print(table)
    guess = "Guessing" if questions[0].choices else "Always giving the commonest answer"
    console.print(f"{guess} is right in {by_chance:.3f}.")


def _print_prompt(task: str, shots: int, seed: int, strict: bool) -> None:
    """Print the prompt of the first question."""
    from npgpt.data.questions import read_questions
    from npgpt.evaluation.few_shot import draw_examples, few_shot_prompt

    questions = read_questions(task, strict)
    prompt = few_shot_prompt(questions[0], draw_examples(questions, 0, shots, seed))
    print(shown_on(sys.stdout, prompt))

"""What fine-tuning prints of its tests."""

from __future__ import annotations

import json
from typing import Any

from npgpt.cli.shared.console import console
from npgpt.cli.shared.pictures import drawn
from npgpt.cli.shared.progress import counting_bar
from npgpt.cli.shared.tables import make_table, plain_table
from npgpt.data import HeldOutBatches
from npgpt.data.splits import TEST
from npgpt.files import write_atomically
from npgpt.finetuning import score_responses
from npgpt.finetuning.templates import prompt_of
from npgpt.plots.finetuning import plot_confusion, plot_rewards
from npgpt.runs import FineTuningRun
from npgpt.runs.folder import CONFUSION_PLOT, RESPONSES, REWARDS_PLOT
from npgpt.training import evaluate

SHOWN = 3  # samples on the screen; all are in the file


def report_classes(run: FineTuningRun) -> None:
    """Print measures of each class, the confusion matrix, and the accuracy; draw the matrix."""
    task: Any = run.task
    report = task.report(run.load_model())
    table = make_table("Test part", "class", "precision", "recall", "F1", "texts")
    counts = report.confusion.sum(axis=1)
    measures = zip(report.labels, report.precision, report.recall, report.f1, counts, strict=True)
    for label, precision, recall, f1, count in measures:
        table.add_row(label, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", str(count))
    console.print(table)
    names = [label[:10] for label in report.labels]
    matrix = make_table("Confusion: a row for each true class", "", *names)
    for label, row in zip(report.labels, report.confusion, strict=True):
        matrix.add_row(label, *(str(n) if n else "." for n in row))
    console.print(matrix)
    console.print(f"Accuracy: {report.accuracy:.3f} on {report.confusion.sum()} texts")
    path = run.folder / CONFUSION_PLOT
    if drawn(path, plot_confusion, report, path, f"npgpt: {run.folder.name}"):
        console.print(f"Confusion matrix: {path}", soft_wrap=True)


def report_preferences(run: FineTuningRun) -> None:
    """Print how the reference and the tuned model order the test pairs; draw the rewards."""
    base, tuned = run.test_preferences()
    title = f"{len(run.task.records[TEST])} test pairs"
    columns = ("loss", "ranking accuracy", "reward accuracy", "reward margin")
    table = make_table(title, "model", *columns)
    for name, scores in (("base", base), ("fine-tuned", tuned)):
        # the reference's rewards are 0 by definition: there is no order to be right or wrong
        rewarded = "-" if scores is base else f"{scores.reward_accuracy:.3f}"
        loss, ranked = f"{scores.loss:.3f}", f"{scores.ranking_accuracy:.3f}"
        table.add_row(name, loss, ranked, rewarded, f"{scores.margin:.3f}")
    console.print(table)
    path = run.folder / REWARDS_PLOT
    if drawn(path, plot_rewards, run.metrics, path, f"npgpt: {run.folder.name}"):
        console.print(f"Rewards: {path}", soft_wrap=True)


def report_responses(run: FineTuningRun, samples: int) -> None:
    """Compare a fine-tuned model with its base: loss of the responses, exact match, ROUGE-L."""
    records, template = run.task.records[TEST], run.config.template
    models = {"base": run.base_model(), "fine-tuned": run.load_language_model()}
    columns = ("response loss", "perplexity", "exact match", "ROUGE-L")
    table = make_table(f"{len(records)} test records", "model", *columns)
    chosen, said = records[:samples], {}
    for name, model in models.items():
        batches = HeldOutBatches(run.task.parts[TEST], run.config.batch_size)
        loss = evaluate(model, batches)
        cells = [f"{loss.loss:.3f}", f"{loss.perplexity:.2f}"]
        if chosen:
            label = f"The {name} model responds"
            with counting_bar(console, label, len(chosen)) as on_response:
                scores = score_responses(model, run.tokenizer, chosen, template, on_response)
            said[name] = scores.responses
            rouge_l = "-" if scores.rouge_l is None else f"{scores.rouge_l:.3f}"
            cells += [f"{scores.exact_match:.3f}", rouge_l]
        table.add_row(name, *cells)
    console.print(table)
    if chosen and scores.rouge_l is None:
        console.print("ROUGE-L needs rouge-score: pip install 'npgpt[rouge]' brings it.")
    lines = [
        {
            "prompt": prompt_of(record, template),
            "expected": record.fields["output"],
            **{name: responses[i] for name, responses in said.items()},
        }
        for i, record in enumerate(chosen)
    ]
    if lines:  # kept before they are shown: whatever happens there, they are not lost
        content = "".join(json.dumps(line) + "\n" for line in lines)
        write_atomically(run.folder / RESPONSES, content.encode())
    for line in lines[:SHOWN]:
        side_by_side = plain_table(overflow="fold")
        for name, text in line.items():
            side_by_side.add_row(name, text.rstrip()[-300:], end_section=True)
        console.print(side_by_side)
    if lines:
        console.print(f"All responses: {run.folder / RESPONSES}", soft_wrap=True)

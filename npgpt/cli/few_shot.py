"""The part of npgpt eval that asks questions."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from npgpt.cli.app import console
from npgpt.cli.progress import progress_bar


def ask_questions(
    opened,
    task: str,
    shots: list[int],
    seed: int,
    limit: int,
    as_json: bool,
    plot: Path | None = None,
) -> None:
    """Print, and perhaps draw, the accuracy of a model for each number of shots."""
    from npgpt.data.questions import read_questions
    from npgpt.evaluation.few_shot import chance, evaluate_few_shot

    questions = read_questions(task)
    results = []
    for number in shots:
        done = 0
        with progress_bar(console, f"{number} shots") as progress:

            def on_question(progress=progress) -> None:
                nonlocal done
                done += 1
                progress(done, min(limit, len(questions)))

            results.append(
                evaluate_few_shot(
                    opened.model, opened.tokenizer, questions, number, seed, limit, on_question
                )
            )
    by_chance = chance(questions[:limit])
    if plot is not None:
        from npgpt.plots.training import plot_few_shot

        plot_few_shot(results, by_chance, plot, f"{Path(opened.name).name}: {task}")
    if as_json:
        lines = [
            {
                "shots": result.shots,
                "accuracy": result.accuracy,
                "interval": result.interval,
                "questions": result.questions,
                "cut": result.cut,
            }
            for result in results
        ]
        print(json.dumps({"task": task, "chance": by_chance, "results": lines}))
        return
    table = Table(title=f"{task}: {results[0].questions} questions", title_justify="left")
    for i, column in enumerate(("shots", "accuracy", "95 % interval", "prompts cut off")):
        table.add_column(column, justify="right" if i else "left")
    for result in results:
        low, high = result.interval
        table.add_row(
            str(result.shots), f"{result.accuracy:.3f}", f"{low:.3f} to {high:.3f}", str(result.cut)
        )
    console.print(table)
    guess = "Guessing" if questions[0].choices else "Always giving the commonest answer"
    console.print(f"{guess} is right in {by_chance:.3f}.")
    if plot is not None:
        console.print(f"Picture: {plot}", soft_wrap=True)


def print_prompt(task: str, shots: int, seed: int) -> None:
    """Print the prompt of the first question."""
    from npgpt.data.questions import read_questions
    from npgpt.evaluation.few_shot import draw_examples, few_shot_prompt

    questions = read_questions(task)
    print(few_shot_prompt(questions[0], draw_examples(questions, 0, shots, seed)))

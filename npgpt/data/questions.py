"""Questions with known answers: multiple choice, or a text."""

from __future__ import annotations

import ast
import dataclasses
import sysconfig
from collections import defaultdict
from pathlib import Path

import numpy as np

from npgpt.data.built_in import source_paths
from npgpt.data.docstrings import instruction_records
from npgpt.data.records import Record, read_records, text_field

CHOICES = 4  # of a built-in question


@dataclasses.dataclass(frozen=True)
class Question:
    """A question.

    Attributes
    ----------
    where : str
        The row it came from.
    question, answer : str
    choices : tuple of str
        The answer among them; empty if the answer is to be written.
    """

    where: str
    question: str
    answer: str
    choices: tuple[str, ...] = ()


def read_questions(source: str | Path) -> list[Question]:
    """Read a task.

    Parameters
    ----------
    source : str or path
        ``signatures`` or ``modules``, which are built in, or a file of records: each has a
        ``question`` and an ``answer``, which is a text, or, if there are ``choices``, the number of
        the right one, counted from 0.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a record does not fit, with its row; or there are fewer than two.
    """
    if str(source) in BUILT_IN_TASKS and not Path(source).exists():
        return BUILT_IN_TASKS[str(source)]()
    questions = [_question(record) for record in read_records(source, ["question", "answer"])]
    if len(questions) < 2:
        raise ValueError(f"{source}: a task needs at least two questions.")
    return questions


def _question(record: Record) -> Question:
    text, choices, answer = (record.fields.get(k) for k in ("question", "choices", "answer"))
    if choices is None:
        return Question(record.where, text_field(record, "question"), text_field(record, "answer"))
    if not isinstance(choices, list) or len(choices) < 2:
        raise ValueError(f"{record.where}: 'choices' must be a list of at least two texts.")
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise ValueError(f"{record.where}: every choice must be a text that is not empty.")
    if not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise ValueError(
            f"{record.where}: 'answer' must be the number of a choice, 0 to {len(choices) - 1}, "
            f"got {answer!r}."
        )
    text = text_field(record, "question")
    return Question(record.where, text, choices[answer], tuple(choices))


def signature_questions(count: int = 200) -> list[Question]:
    """Ask which of four first lines of a docstring belongs to a function of a held-out module.

    Parameters
    ----------
    count : int
    """
    records = [r for r in instruction_records() if r.fields["split"] == "test"]
    rng = np.random.default_rng(0)
    questions = []
    for i in rng.permutation(len(records))[:count]:
        signature, right = records[i].fields["input"], records[i].fields["output"]
        choices = [right]
        while len(choices) < CHOICES:
            other = records[rng.integers(len(records))].fields["output"]
            if other not in choices:
                choices.append(other)
        order = rng.permutation(CHOICES)
        shuffled = tuple(choices[place] for place in order)
        questions.append(Question(records[i].where, signature, right, shuffled))
    return questions


def module_questions(count: int = 200) -> list[Question]:
    """Ask from which module a public name is: the answer is written.

    Parameters
    ----------
    count : int
    """
    root = Path(sysconfig.get_path("stdlib"))
    modules: dict[str, set[str]] = defaultdict(set)
    for path in source_paths():
        place = path.relative_to(root).with_suffix("")
        parts = place.parts[:-1] if place.name == "__init__" else place.parts
        if not any(part.startswith("_") for part in parts):
            for name in _public_names(path):
                modules[name].add(".".join(parts))
    alone = sorted((name, *found) for name, found in modules.items() if len(found) == 1)
    chosen = np.random.default_rng(0).permutation(len(alone))[:count]
    return [
        Question(f"modules, {module}", f"From which module is {name}?", module)
        for name, module in (alone[i] for i in chosen)
    ]


def _public_names(path: Path) -> list[str]:
    """Read ``__all__`` of a module, where it is a plain list."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return []
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id != "__all__" or not isinstance(node.value, ast.List | ast.Tuple):
                continue
            constants = [e.value for e in node.value.elts if isinstance(e, ast.Constant)]
            return [value for value in constants if isinstance(value, str)]
    return []


BUILT_IN_TASKS = {"signatures": signature_questions, "modules": module_questions}

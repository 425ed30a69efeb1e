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
from npgpt.data.left_out import LeftOut, with_texts
from npgpt.data.records import Record, read_records

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


def read_questions(source: str | Path, strict: bool = False) -> list[Question]:
    """Read a task.

    Parameters
    ----------
    source : str or path
        ``signatures`` or ``modules``, which are built in, or a file of records: each has a
        ``question`` and an ``answer``, which is a text, or, if there are ``choices``, the number of
        the right one, counted from 0.
    strict : bool
        Refuse a record with an empty question, answer or choice, which else is left out; how many
        were is logged.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a record does not fit, with its row; or there are fewer than two.
    """
    if str(source) in BUILT_IN_TASKS and not Path(source).exists():
        return BUILT_IN_TASKS[str(source)]()
    left_out = LeftOut(strict)
    records = read_records(source, ["question", "answer"])
    questions = [question for record in records if (question := _question(record, left_out))]
    left_out.refuse_nothing_left(str(source), questions)
    left_out.tell()
    if len(questions) < 2:
        raise ValueError(f"{source}: a task needs at least two questions.")
    return questions


def _question(record: Record, left_out: LeftOut) -> Question | None:
    """Make a question of a record, with its texts as they are; None if it is left out."""
    question, choices, answer = (record.fields.get(k) for k in ("question", "choices", "answer"))
    if choices is None:
        if with_texts([record], ("question", "answer"), left_out):
            return Question(record.where, str(question), str(answer))
        return None
    if not isinstance(choices, list) or len(choices) < 2:
        raise ValueError(f"{record.where}: 'choices' must be a list of at least two texts.")
    if type(answer) is not int or not 0 <= answer < len(choices):  # True is no number
        raise ValueError(
            f"{record.where}: 'answer' must be the number of a choice, 0 to {len(choices) - 1}, "
            f"got {answer!r}."
        )
    texts = [("question", question), *(("choice", choice) for choice in choices)]
    if not all(with_texts([Record(record.where, {k: v})], [k], left_out) for k, v in texts):
        return None
    return Question(record.where, str(question), choices[answer], tuple(choices))


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

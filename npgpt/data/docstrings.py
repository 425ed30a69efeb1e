"""Labelled data that comes with every CPython: its docstrings, parsed and never imported."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sysconfig
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from npgpt.data.built_in import source_paths
from npgpt.data.records import Record
from npgpt.data.splits import TEST, TRAIN, VALIDATION

SHORTEST = 20  # characters of a docstring that says something
SHORTEST_TO_CLASSIFY = 60  # characters that say something of the package
LONGEST_SIGNATURE = 100  # characters, so that a prompt fits into a small context
NUM_PACKAGES = 8
BUILT_IN = "docstrings"  # what asks for these records in the place of a file
INSTRUCTION = "Write the first line of this function's docstring."


class Docstring(NamedTuple):
    """A docstring, whose it is, and the module it is in."""

    module: str  # such as "email/message.py"
    signature: str  # "def name(arguments):", or "class Name:"
    text: str


@functools.cache
def docstrings() -> list[Docstring]:
    """Find the docstrings of the standard library's modules, classes and functions, in order.

    A text that occurs again is left out, so that no text is in two parts of a data set.
    """
    return list(_find_docstrings())


def _find_docstrings() -> Iterator[Docstring]:
    root, seen = Path(sysconfig.get_path("stdlib")), set()
    for path in source_paths():
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:  # templates that are not Python
            continue
        for node in _statements(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | _FUNCTIONS):
                continue
            text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
            if len(text) >= SHORTEST and text not in seen:
                seen.add(text)
                yield Docstring(path.relative_to(root).as_posix(), _signature(node), text)


def package_records(num_packages: int = NUM_PACKAGES) -> list[Record]:
    """Make records of docstrings and the packages they are from: ``text``, ``label``, ``split``.

    The packages with most docstrings in several modules are taken. A module is in one part as a
    whole; validation and test parts have equally many docstrings of each package.

    Parameters
    ----------
    num_packages : int
    """
    packages: dict[str, dict[str, list[Docstring]]] = defaultdict(lambda: defaultdict(list))
    for docstring in docstrings():
        package, _, module = docstring.module.partition("/")
        if module and len(docstring.text) >= SHORTEST_TO_CLASSIFY:
            packages[package][docstring.module].append(docstring)
    several = {name: modules for name, modules in packages.items() if len(modules) >= 6}
    by_size = sorted(several, key=lambda name: (-sum(map(len, several[name].values())), name))
    chosen = sorted(by_size[:num_packages])
    parts = {name: split_modules({m: len(d) for m, d in packages[name].items()}) for name in chosen}
    members: dict[tuple[str, str], list[Docstring]] = defaultdict(list)
    for name in chosen:
        for module, found in sorted(packages[name].items()):
            members[name, parts[name][module]] += found
    records = []
    for part in (TRAIN, VALIDATION, TEST):
        fewest = min(len(members[name, part]) for name in chosen)
        for name in chosen:
            found = sorted(members[name, part], key=lambda d: _digest(d.text))
            for docstring in found if part == TRAIN else found[:fewest]:
                fields = {"text": docstring.text.strip(), "label": name, "split": part}
                records.append(Record(f"docstrings, {docstring.module}", fields))
    return records


def instruction_records() -> list[Record]:
    """Make records of the form ``instruction``, ``input``, ``output``, with a ``split``.

    The input is a function's signature of at most 100 characters, the output the first line of its
    docstring.
    """
    found = [d for d in docstrings() if d.signature.startswith(("def ", "async def "))]
    sizes: dict[str, int] = defaultdict(int)
    for docstring in found:
        sizes[docstring.module] += 1
    parts = split_modules(sizes)
    records, seen = [], set()
    for docstring in found:
        first = docstring.text.split("\n", 1)[0].strip()
        if len(first) < SHORTEST or len(docstring.signature) > LONGEST_SIGNATURE:
            continue
        if (docstring.signature, first) in seen:
            continue
        seen.add((docstring.signature, first))
        fields = {"instruction": INSTRUCTION, "input": docstring.signature, "output": first}
        fields["split"] = parts[docstring.module]
        records.append(Record(f"docstrings, {docstring.module}", fields))
    return records


def preference_records() -> list[Record]:
    """Make records of the form ``instruction``, ``input``, ``chosen``, ``rejected``, ``split``.

    Signatures and chosen lines are those of `instruction_records`. The rejected line is the first
    line of another function of the same module, so that only what it says is wrong, not how. Each
    line of a module is chosen once and rejected once, which keeps a model from learning the lines
    instead of whether they fit.
    """
    by_module: dict[str, list[Record]] = defaultdict(list)
    for record in instruction_records():
        by_module[record.where].append(record)
    records = []
    for members in by_module.values():
        members.sort(key=lambda r: _digest(r.fields["input"] + r.fields["output"]))
        for record, other in zip(members, members[1:] + members[:1], strict=True):
            chosen, rejected = record.fields["output"], other.fields["output"]
            if chosen != rejected:  # also the only function of its module
                fields = {k: record.fields[k] for k in ("instruction", "input", "split")}
                fields |= {"chosen": chosen, "rejected": rejected}
                records.append(Record(record.where, fields))
    return records


def split_modules(sizes: dict[str, int], fraction: float = 0.15) -> dict[str, str]:
    """Put whole modules into test, validation and training parts.

    Modules come in the order of their names' SHA-256. One goes to the first of test and validation
    that is still below ``fraction`` of all docstrings and would not be far beyond it; the others,
    and so the largest, are trained on.

    Parameters
    ----------
    sizes : dict of str to int
        Docstrings of each module.
    fraction : float
        Share of all docstrings for each of test and validation.

    Returns
    -------
    dict of str to str
        Each module's part.
    """
    wanted = fraction * sum(sizes.values())
    filled, parts = {TEST: 0, VALIDATION: 0}, {}
    for module in sorted(sizes, key=_digest):
        fits = [
            part
            for part in (TEST, VALIDATION)
            if filled[part] < wanted and filled[part] + sizes[module] <= 1.3 * wanted
        ]
        parts[module] = min(fits, key=lambda part: filled[part]) if fits else TRAIN
        if fits:
            filled[parts[module]] += sizes[module]
    return parts


_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_HOLDERS = ast.stmt | ast.ExceptHandler | ast.match_case


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    # in the order of ast.walk, without the expressions: most nodes, and none holds a definition
    found: deque[ast.AST] = deque([tree])
    while found:
        node = found.popleft()
        yield node
        for _, block in ast.iter_fields(node):
            if isinstance(block, list):
                found.extend(child for child in block if isinstance(child, _HOLDERS))


def _signature(node: ast.AST) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}:"
    if isinstance(node, _FUNCTIONS):
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        return f"{word} {node.name}({ast.unparse(node.args)}):"
    return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

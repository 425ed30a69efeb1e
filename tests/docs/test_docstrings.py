"""Examples in docstrings run, and docstrings describe the arguments."""

import ast
import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import npgpt

PACKAGE = Path(npgpt.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(npgpt.__path__, "npgpt.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def public_functions(node, prefix=""):
    """Yield (name, definition) of functions and methods that have a public name."""
    for part in node.body:
        if isinstance(part, ast.ClassDef) and not part.name.startswith("_"):
            yield from public_functions(part, f"{prefix}{part.name}.")
        elif isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
            yield f"{prefix}{part.name}", part


def undescribed(room):
    """List the functions that take two arguments or more and have no section for them.

    A compiled operation has the docstring of its reference; the kernels inside it are not public.
    """
    found = []
    for path in sorted((PACKAGE / room).rglob("*.py")):
        if path.parent.name == "compiled":
            continue
        for name, function in public_functions(ast.parse(path.read_text(encoding="utf-8"))):
            every = function.args
            arguments = [*every.posonlyargs, *every.args, *every.kwonlyargs]
            arguments += [x for x in (every.vararg, every.kwarg) if x is not None]
            if sum(x.arg not in ("self", "cls") for x in arguments) < 2:
                continue
            if "Parameters\n----------" not in (ast.get_docstring(function) or ""):
                found.append(f"{path.relative_to(PACKAGE)}:{function.lineno} {name}")
    return found


@pytest.mark.parametrize("room", ["layers", "ops"])
def test_a_function_of_several_arguments_describes_each(room):
    assert undescribed(room) == []

"""Texts that come with every CPython, so that nothing has to be downloaded."""

from __future__ import annotations

import sysconfig
import tokenize
from collections.abc import Callable
from pathlib import Path

# tests, and what is not code that a person reads: tables of characters, the texts of python-docs
LEFT_OUT = {
    "__pycache__",
    "dist-packages",
    "encodings",
    "idle_test",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
}


def python_docs() -> list[str]:
    """Return the texts behind Python's ``help("topics")``, about 465,000 characters."""
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)]


def python_source() -> list[str]:
    """Return the standard library's own modules, code and docstrings: about ten million characters.

    Tests and packages that were installed later are left out. A module is decoded as Python itself
    would decode it.
    """
    return [_read_module(path) for path in source_paths()]


def source_paths() -> list[Path]:
    """Return the paths of the modules of `python_source`, in the order of their names."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = (path.relative_to(root) for path in root.rglob("*.py"))
    wanted = [path for path in paths if not LEFT_OUT.intersection(path.parts)]
    return [root / path for path in sorted(wanted) if (root / path).stat().st_size]


def _read_module(path: Path) -> str:
    with tokenize.open(path) as file:  # obeys a "coding" comment
        return file.read()


# what reads the documents of each corpus that comes with Python, by its name
BUILT_IN_CORPORA: dict[str, Callable[[], list[str]]] = {
    "python-docs": python_docs,
    "python-source": python_source,
}

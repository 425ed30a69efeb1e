"""The lines of code that a layer runs forward and backward."""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from npgpt import ops
from npgpt.layers import Layer
from npgpt.layers.activations import Activation
from npgpt.layers.recurrent import Recurrent
from npgpt.ops import reference
from npgpt.version import __version__

PACKAGE = Path(__file__).resolve().parents[1]
METHOD_CALL = re.compile(r"\bself\.(\w+)\(")
SUPER_CALL = re.compile(r"\bsuper\(\)\.(\w+)\(")
PASSES = ("forward", "loss", "backward")
DEFINITION = re.compile(r"^\s*def ", re.M)
OPERATION = re.compile(r"\b(?:ops|reference)\.(\w+)\(")


@dataclasses.dataclass(frozen=True)
class SourceLines:
    """A function as it stands in a file, without its docstring.

    Attributes
    ----------
    name : str
        Such as ``LayerNorm.backward``.
    path : str
        Of the file, from the folder that holds the package.
    lines : tuple of (int, str)
        Number and text of each line.
    url : str or None
        Where to read it, if the package's metadata names a repository.
    """

    name: str
    path: str
    lines: tuple[tuple[int, str], ...]
    url: str | None = None

    @property
    def is_pass(self) -> bool:
        """Whether this is a layer's forward or backward, not a function that they call."""
        return self.name.rpartition(".")[2] in PASSES and "." in self.name

    @property
    def first(self) -> int:
        """Number of the first line."""
        return self.lines[0][0]


def source_of(function: Callable[..., Any], name: str | None = None) -> SourceLines:
    """Find a function's lines.

    Raises
    ------
    OSError
        If its source is not there.
    """
    function = inspect.unwrap(function)
    lines, first = inspect.getsourcelines(function)
    text = textwrap.dedent("".join(lines))
    kept = [(first + i, line) for i, line in enumerate(text.splitlines())]
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del kept[docstring.lineno - 1 : docstring.end_lineno]
    path = Path(inspect.getsourcefile(function) or "").resolve()
    if path.is_relative_to(PACKAGE):
        shown = path.relative_to(PACKAGE.parent).as_posix()
        return SourceLines(name or function.__qualname__, shown, tuple(kept), _url(shown, first))
    return SourceLines(name or function.__qualname__, path.name, tuple(kept))


def code_of(layer: Layer) -> list[SourceLines]:
    """List what a layer runs: forward, backward, the methods and the operations they call.

    Operations are shown in their reference form, which the compiled ones are proved equal to. A
    method whose source is not there, such as one that was typed into an interpreter, is left out.
    """
    own = _own(type(layer))
    methods = [own[name] for name in PASSES if name in own]
    for method in methods:  # the list grows with what is found in it
        methods += [called for called in _called(layer, method) if called not in methods]
    operations = [name for method in methods for name in OPERATION.findall(_text(method))]
    if isinstance(layer, Activation | Recurrent):
        operations += [f"{layer.op}_forward", f"{layer.op}_backward"]
    known = [name for name in dict.fromkeys(operations) if name in ops.OPERATIONS]
    functions = [*methods, *(getattr(reference, name) for name in known)]
    return [source_of(f) for f in functions if inspect.isfunction(f) and _text(f)]


def _called(layer: Layer, method: Callable[..., Any]) -> list[Callable[..., Any]]:
    """List the layer's methods that one of them calls, also in the class it is made from."""
    own, text = _own(type(layer)), _text(method)
    called = [own[name] for name in METHOD_CALL.findall(text) if name in own]
    kinds = list(_before_layer(type(layer)))
    for name in SUPER_CALL.findall(text):
        found = [vars(kind)[name] for kind in kinds if name in vars(kind)]
        called += found[found.index(method) + 1 :][:1] if method in found else []
    return list(dict.fromkeys(called))


def _own(kind: type[Layer]) -> dict[str, Callable[..., Any]]:
    """Methods of a kind of layer that are not every layer's."""
    found: dict[str, Callable[..., Any]] = {}
    for parent in _before_layer(kind):
        for name, attribute in vars(parent).items():
            if inspect.isfunction(attribute):
                found.setdefault(name, attribute)
    return found


def _before_layer(kind: type[Layer]) -> Iterator[type]:
    for parent in kind.__mro__:
        if parent is Layer:
            return
        yield parent


def _text(function: Callable[..., Any]) -> str:
    """Return a function's source; nothing if there is none, or if it is no plain definition."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return ""
    return text if DEFINITION.search(text) else ""


def _url(path: str, line: int) -> str | None:
    repository = _repository()
    return f"{repository}/blob/v{__version__}/{path}#L{line}" if repository else None


def _repository() -> str | None:
    try:
        urls = importlib.metadata.metadata("npgpt").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    named = dict(url.split(", ", 1) for url in urls)
    for name in ("Repository", "Source", "Source Code"):
        if name in named:
            return named[name].rstrip("/")
    return None

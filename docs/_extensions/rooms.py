"""The API reference: every public name of a room, from its docstring, with links between them.

``.. room:: npgpt.layers`` in a page documents each name of ``npgpt.layers.__all__``. A name in
single backticks in a docstring becomes a link where it is documented and code where it only exists;
a name that exists nowhere is a warning. Equations in double backticks become mathematics.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from linear_notation import to_tex
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import npgpt

COLON = "\ue000"  # a character for private use


@cache
def rooms() -> dict[str, list[str]]:
    """Map every module that has an ``__all__`` to it, unless its package hands all of it on."""
    names = ["npgpt", *(module.name for module in pkgutil.walk_packages(npgpt.__path__, "npgpt."))]
    found = {}
    for name in names:
        if not name.endswith("__main__"):
            public = getattr(importlib.import_module(name), "__all__", None)
            outer = getattr(sys.modules[name.rpartition(".")[0] or name], "__all__", ())
            if public is not None and (name == "npgpt" or set(public) - set(outer)):
                found[name] = public
    return found


@cache
def homes() -> dict[int, str]:
    """Map the identity of each public object to the one name under which it is documented.

    Of several that is its own name, in the outermost room that holds the code.
    """
    ranked: dict[int, tuple[bool, bool, int, str]] = {}
    for room, names in rooms().items():
        for name in names:
            thing = getattr(sys.modules[room], name)
            if not isinstance(thing, types.ModuleType):
                own = getattr(thing, "__name__", name) == name
                holds = f"{getattr(thing, '__module__', room)}.".startswith(f"{room}.")
                rank = (not own, room == "npgpt" or not holds, room.count("."), f"{room}.{name}")
                ranked[id(thing)] = min(rank, ranked.get(id(thing), rank))
    return {thing: rank[-1] for thing, rank in ranked.items()}


def kind_of(thing: Any) -> str:
    """Return what autodoc calls it."""
    if isinstance(thing, type):
        return "exception" if issubclass(thing, BaseException) else "class"
    return "function" if inspect.isroutine(thing) else "data"


def is_module(room: str, name: str) -> bool:
    """Say whether a name of a room is a room itself."""
    return isinstance(getattr(sys.modules[room], name), types.ModuleType)


def order(room: str, name: str) -> tuple[int, str]:
    """Sort the list of modules before classes and functions, and those before constants."""
    constant = kind_of(getattr(sys.modules[room], name)) == "data"
    return (0 if is_module(room, name) else 2 if constant else 1), name.lower()


class Room(SphinxDirective):
    """Document a module and each name of its ``__all__``."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        """Write the directives of autodoc and parse them."""
        room = self.arguments[0]
        self.env.note_dependency(sys.modules[room].__file__ or "")
        lines = StringList()
        for line in self.lines(room):
            lines.append(line, f"<{room}>")
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)

    def lines(self, room: str) -> Iterator[str]:
        """Yield reStructuredText: the module's docstring, then every name."""
        yield from (f".. automodule:: {room}", "")
        elsewhere = []
        for name in sorted(rooms()[room], key=lambda name: order(room, name)):
            thing = getattr(sys.modules[room], name)
            if is_module(room, name):
                yield f"- `{thing.__name__}`: {(thing.__doc__ or '').split(chr(10))[0]}"
                continue
            yield ""
            home = homes()[id(thing)]
            if home != f"{room}.{name}":
                elsewhere.append((name, home))
                continue
            kind = kind_of(thing)
            yield f".. auto{kind}:: {room}.{name}"
            if kind == "data":
                yield "   :no-value:"
            elif kind != "function":
                yield from ("   :members:", "   :member-order: bysource")
                if thing.__bases__ != (object,):
                    yield "   :show-inheritance:"
            yield ""
        if elsewhere:
            yield from (f".. py:currentmodule:: {room}", "")
        for name, home in elsewhere:
            yield from (f".. py:data:: {room}.{name}", "", f"   Stands for `{home}`.", "")


def scopes(name: str) -> Iterator[Any]:
    """Yield where a docstring of ``name`` may find what it speaks of, the nearest first."""
    parts, thing = name.split("."), None
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        if module in sys.modules:
            chain: list[Any] = [sys.modules[module]]
            for part in parts[length:]:
                thing = getattr(chain[-1], part, None)
                if thing is None:
                    break
                chain.append(thing)
            for thing in reversed(chain):
                yield thing
                if not isinstance(thing, types.ModuleType):
                    defined = getattr(inspect.unwrap(thing), "__module__", None)
                    yield sys.modules.get(defined or "")
            break
    yield npgpt
    yield from (sys.modules[room] for room in rooms())
    yield from (module for name, module in sys.modules.items() if name.startswith("npgpt."))


def member(scope: Any, name: str) -> Any:
    """Return what a dotted name means in a scope, or None."""
    for part in name.split("."):
        if part in getattr(scope, "__annotations__", {}) and not hasattr(scope, part):
            return scope  # a field without a default
        scope = getattr(scope, part, None)
        if scope is None:
            return None
    return scope


def full_name(name: str, said_by: str) -> str | None:
    """Return the documented name of what a docstring names; "" for what exists and has no page."""
    name = name.removesuffix("()")
    everywhere = types.SimpleNamespace(npgpt=npgpt)
    for scope in (*scopes(said_by), everywhere):
        thing = member(scope, name)
        if thing is None:
            continue
        if isinstance(thing, types.ModuleType):
            return thing.__name__
        if id(thing) in homes():
            return homes()[id(thing)]
        owner, _, attribute = name.rpartition(".")
        holder = member(scope, owner) if owner else scope
        for base in getattr(holder, "__mro__", [holder]):
            if attribute in vars(base) and id(base) in homes():
                return f"{homes()[id(base)]}.{attribute}"
        return ""
    top, _, rest = name.partition(".")
    try:
        thing = importlib.import_module(top)
    except ImportError:
        thing = __builtins__.get(top) if isinstance(__builtins__, dict) else None
    return None if thing is None or (rest and member(thing, rest) is None) else ""


def speaker(node: nodes.Node) -> str:
    """Return the full name of the object in whose docstring a node stands."""
    while node is not None:
        if isinstance(node, addnodes.desc):
            for signature in node.findall(addnodes.desc_signature):
                if signature["ids"]:
                    return signature["ids"][0]
        node = node.parent
    return "npgpt"


def read(app: Sphinx, doctree: nodes.document) -> None:
    """Give references their full names, and equations their form."""
    if not app.env.docname.startswith("reference/"):
        return
    for xref in list(doctree.findall(addnodes.pending_xref)):
        if xref.get("refdomain") == "py":
            said_by = speaker(xref)
            if said_by == "npgpt":
                said_by = xref.get("py:module") or said_by
            target = full_name(xref["reftarget"], said_by)
            if target:
                xref["reftarget"], xref["refspecific"], xref["exists"] = target, False, True
            elif target == "" or xref["reftype"] != "obj":  # a word of a parameter's type
                xref.replace_self(shown(xref))
    for literal in list(doctree.findall(nodes.literal)):
        tex = to_tex(literal.astext())
        if tex and not isinstance(literal.parent, addnodes.pending_xref):
            literal.replace_self(nodes.math(tex, tex))


def missing(
    app: Sphinx, env, node: addnodes.pending_xref, content: nodes.Node
) -> nodes.Node | None:
    """Show what exists and has no entry of its own as code, without a link."""
    return content if node.get("exists") else None


def shown(xref: addnodes.pending_xref) -> list[nodes.Node]:
    """Return what a reference shows: of an annotation's two forms the one without the module."""
    forms = [child for child in xref.children if isinstance(child, addnodes.pending_xref_condition)]
    short = [form for form in forms if form["condition"] == "resolved"]
    return short[0].children if short else xref.children


def docstring(app: Sphinx, what: str, name: str, thing: Any, options, lines: list[str]) -> None:
    """Give a constant the comment on it, and a compiled form a link to its specification."""
    room, _, short = name.rpartition(".")
    if what == "data":
        lines[:] = [comment_on(thing, short), ""]
    if room == "npgpt.ops.compiled" and short in rooms()["npgpt.ops.reference"]:
        lines[:] = [f"The compiled form of `npgpt.ops.reference.{short}`.", ""]


def comment_on(thing: Any, name: str) -> str:
    """Return the comment before or behind the assignment of a constant."""
    line = re.compile(
        rf"(?P<above>(?:^#:? .*\n)*)^{name}\b[^\n#]*=[^\n#]*(?:#:? (?P<behind>.*))?", re.MULTILINE
    )
    for module in [module for key, module in sys.modules.items() if key.startswith("npgpt")]:
        if vars(module).get(name) is thing and module.__file__:
            found = line.search(Path(module.__file__).read_text(encoding="utf-8"))
            if found:
                comment = found["behind"] or found["above"].replace("# ", "").replace("\n", " ")
                return comment[:1].upper() + comment[1:]
    return ""


def signature(app: Sphinx, what: str, name: str, thing: Any, options, arguments, result):
    """Write a class or function that is a default by its name, and other objects as dots."""
    if getattr(thing, "_is_protocol", False):
        return "", None  # it is never made
    named = re.sub(r"<(?:class '|function )([\w.]+)[^>]*>", r"\1", arguments or "")
    return re.sub(r"<(?:[^<>]|<lambda>)*>", "...", named) or None, result


def hide_colon(app: Sphinx, what: str, name: str, thing: Any, options, lines: list[str]) -> None:
    """Keep Napoleon from reading the words before a property's colon as its type."""
    if what in ("attribute", "property"):
        lines[:] = [line.replace(": ", COLON) for line in lines]


def show_colon(app: Sphinx, what: str, name: str, thing: Any, options, lines: list[str]) -> None:
    """Undo `hide_colon`."""
    lines[:] = [line.replace(COLON, ": ") for line in lines]


def skip(app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options) -> bool | None:
    """Leave out the fields of a named tuple, which its docstring describes."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and what follows the reading of a page."""
    app.add_directive("room", Room)
    app.connect("doctree-read", read)
    app.connect("missing-reference", missing)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-docstring", hide_colon, priority=400)
    app.connect("autodoc-process-docstring", show_colon, priority=600)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Break the real code on purpose, to show that a test notices."""

import contextlib
import inspect
import sys
import textwrap

import pytest

from npgpt import ops


@contextlib.contextmanager
def mutated(function, old, new):
    """Replace one fragment of a function's source while the block runs, in the reference backend.

    ``function`` is a function of `npgpt.ops.reference`, or a method. The fragment must occur exactly
    once, so that a test whose target has moved fails instead of checking nothing.
    """
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {function}"
    namespace = dict(sys.modules[function.__module__].__dict__)
    owner = namespace[function.__qualname__.split(".")[0]] if "." in function.__qualname__ else None
    body = textwrap.indent(source.replace(old, new), "    ")
    # a method that calls super() looks its class up in a cell of this name
    factory = f"def make(__class__):\n{body}\n    return {function.__name__}"
    exec(compile(factory, f"<mutant of {function.__qualname__}>", "exec"), namespace)
    mutant = namespace["make"](owner)
    with pytest.MonkeyPatch.context() as patch:
        if owner is not None:
            patch.setattr(owner, function.__name__, mutant)
        else:
            for name, module in list(sys.modules.items()):
                in_reference = name.startswith("npgpt.ops.reference")
                if in_reference and getattr(module, function.__name__, None) is function:
                    patch.setattr(module, function.__name__, mutant)
        with ops.use("reference"):
            yield

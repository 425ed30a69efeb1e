"""Break the real code on purpose, to show that a test notices."""

import contextlib
import inspect
import sys
import textwrap

import numpy as np
import pytest

from npgpt import ops
from npgpt.ops.compiled import blas, jit, tiles


@contextlib.contextmanager
def mutated(function, old, new):
    """Replace one fragment of a function's source while the block runs, in the reference backend.

    ``function`` is a function of the package, or a method. The fragment must occur exactly
    once, so that a test whose target has moved fails instead of checking nothing.
    """
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {function}"
    namespace = vars(sys.modules[function.__module__])  # constants that a test sets are seen
    owner = namespace[function.__qualname__.split(".")[0]] if "." in function.__qualname__ else None
    body = textwrap.indent(source.replace(old, new), "    ")
    # a method that calls super() looks its class up in a cell of this name
    factory = f"def make(__class__):\n{body}\n    return {function.__name__}"
    exec(compile(factory, f"<mutant of {function.__qualname__}>", "exec"), namespace)
    mutant = namespace.pop("make")(owner)
    with pytest.MonkeyPatch.context() as patch:
        if owner is not None:
            patch.setattr(owner, function.__name__, mutant)
        else:
            for name, module in list(sys.modules.items()):
                where = "npgpt.ops.reference" if "ops" in function.__module__ else "npgpt"
                if name.startswith(where) and vars(module).get(function.__name__) is function:
                    patch.setattr(module, function.__name__, mutant)
        with ops.use("reference"):
            yield


def numpy_gemm(alpha, transpose_a, a, transpose_b, b, beta, c):
    """Compute what `npgpt.ops.compiled.blas.gemm` does inside kernels."""
    product = alpha * ((a.T if transpose_a else a) @ (b.T if transpose_b else b))
    c[...] = product if beta == 0 else product + beta * c


def numpy_tile(a, packed, c, panel, begin, rows):
    """Compute what `npgpt.ops.compiled.tiles.add_tile` does inside kernels."""
    assert 1 <= rows <= tiles.TILE_ROWS
    part, width = slice(begin, begin + rows), packed.shape[2]
    c[part, panel * width : (panel + 1) * width] += a[part] @ packed[panel]


PLAIN = {
    **dict.fromkeys(("kernel", "parallel_kernel", "inline_kernel"), lambda **_: lambda f: f),
    "for_any_heads": lambda f: f,
    "exp": np.exp,
}


@contextlib.contextmanager
def mutated_kernel(module, name, old, new, users=()):
    """Replace one fragment of a function of a compiled file, whose kernels then run as plain Python.

    So do those of ``users``, files whose kernels call the function; nothing is compiled anew.
    """
    source, function = inspect.getsource(module), getattr(module, name)
    body = inspect.getsource(compiled_source(function))
    assert body.count(old) == 1, f"{old!r} occurs {body.count(old)} times in {name}"
    sources = {module: source.replace(body, body.replace(old, new))}
    sources |= {user: inspect.getsource(user) for user in users}
    with contextlib.ExitStack() as undo, ops.use("compiled"):
        for part, text in sources.items():
            before = dict(vars(part))
            undo.callback(lambda part=part, before=before: _fill(part, before))
            with pytest.MonkeyPatch.context() as plain:
                for decorator, identity in PLAIN.items():
                    plain.setattr(jit, decorator, identity)
                plain.setattr(blas, "gemm", numpy_gemm)
                exec(compile(text, f"<mutant of {part.__name__}>", "exec"), vars(part))
            if "number_of" in before:
                part.number_of = lambda w, like: w
            if "add_tile" in before:
                part.add_tile = numpy_tile
            patch = undo.enter_context(pytest.MonkeyPatch.context())
            for other_name, other in list(sys.modules.items()):
                if other_name.startswith("npgpt.ops.compiled") and other is not part:
                    for key, value in before.items():
                        if callable(value) and vars(other).get(key) is value:
                            patch.setattr(other, key, vars(part)[key])
        yield


def _fill(module, content):
    vars(module).clear()
    vars(module).update(content)


def compiled_source(op):
    """Return the function that `compiled_form_of` or a kernel's decorator wrapped."""
    if hasattr(op, "py_func"):
        return op.py_func
    closure = dict(zip(op.__code__.co_freevars, op.__closure__ or (), strict=True))
    return closure["compiled_op"].cell_contents if "compiled_op" in closure else op

"""Arguments of operations and layers are annotated, and mypy reads the annotations."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import npgpt

PACKAGE = Path(npgpt.__file__).parent
ROOT = PACKAGE.parent
LEAST = 0.95


def arguments_of(room):
    """Yield (function, argument, whether it is annotated) of every function of a room."""
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                every = node.args
                listed = [*every.posonlyargs, *every.args, *every.kwonlyargs]
                listed += [x for x in (every.vararg, every.kwarg) if x is not None]
                for argument in listed:
                    if argument.arg not in ("self", "cls"):
                        where = f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
                        yield where, argument.arg, argument.annotation


@pytest.mark.parametrize("room", ["ops", "layers"])
def test_nearly_all_arguments_are_annotated(room, capsys):
    found = list(arguments_of(room))
    bare = [f"{where}({name})" for where, name, annotation in found if annotation is None]
    share = 1.0 - len(bare) / len(found)
    with capsys.disabled():
        print(f"\n{room}: {share:.1%} of {len(found)} arguments are annotated")
    assert share >= LEAST, "\n".join(bare)


@pytest.mark.parametrize("room", ["layers", "models"])
def test_no_part_of_a_model_is_of_any_type(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert "type: ignore" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
                assert ast.unparse(node.annotation) != "Any" or node.target.attr == "saved", (
                    f"{path}:{node.lineno} {ast.unparse(node)}"
                )


MISTAKES = {
    "a name for a width": ("npgpt.layers.Linear('eight', 8)", 'incompatible type "str"'),
    "a name for a config's width": (
        "npgpt.GPTConfig(8, 8, n_layers=1, n_heads=1, d_model='8')",
        'incompatible type "str"',
    ),
    "a list for an array": (
        "npgpt.layers.GELU().forward([1.0])",
        'incompatible type "list[float]"',
    ),
    "a frozen parameter's gradient": (
        "npgpt.layers.Linear(2, 2).weight.grad.sum()",
        'Item "None" of',
    ),
}

LAYER = """
import numpy as np
import npgpt
from npgpt import ops


class Wrong(npgpt.layers.Layer):
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.keep(x)
        return ops.linear_forward(x, "weight")
"""


@pytest.mark.slow  # mypy reads the package
def test_mypy_fails_on_a_wrong_type_that_is_planted(tmp_path):
    pytest.importorskip("mypy")
    lines = [f"_{i} = {call}" for i, (call, _) in enumerate(MISTAKES.values())]
    (tmp_path / "calls.py").write_text("import npgpt\n\n" + "\n".join(lines) + "\n")
    (tmp_path / "layer.py").write_text(LAYER)
    (tmp_path / "right.py").write_text("import npgpt\n\nx = npgpt.layers.Linear(8, 8)\n")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml",
         "calls.py", "layer.py", "right.py"],
        cwd=tmp_path, env={"MYPYPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stdout + run.stderr
    for i, (call, message) in enumerate(MISTAKES.values()):
        found = [line for line in run.stdout.splitlines() if line.startswith(f"calls.py:{i + 3}:")]
        assert any(message in line for line in found), f"{call}: {run.stdout}"
    assert "layer.py:10: error" in run.stdout, run.stdout
    assert "right.py" not in run.stdout

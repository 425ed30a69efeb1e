"""What the signatures of all operations have in common, and that mypy and editors know them."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from npgpt import ops
from npgpt.ops import compiled, reference

BACKWARD = [name for name in reference.__all__ if name.endswith("_backward")]
KEYWORD, POSITIONAL = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD


def parameters(name, kind=None):
    signature = inspect.signature(getattr(reference, name)).parameters.values()
    return [p.name for p in signature if kind in (None, p.kind)]


@pytest.mark.parametrize("name", BACKWARD)
def test_backward_takes_dy_then_forwards_inputs_then_what_forward_kept(name):
    dy, *others = parameters(name, POSITIONAL)
    assert dy.startswith("d")
    assert not any(other.startswith("d") for other in others), "a gradient must be given by name"
    inputs = parameters(name.replace("_backward", "_forward"), POSITIONAL)
    taken = [other for other in others if other in inputs]
    assert others[: len(taken)] == taken, "what forward kept comes after its inputs"
    assert taken == [i for i in inputs if i in taken], "in forward's order"


@pytest.mark.parametrize("name", BACKWARD)
def test_behind_what_was_kept_there_are_choices_then_gradients_then_out_all_by_name(name):
    choices = parameters(name.replace("_backward", "_forward"), KEYWORD)
    order = ["choice" if n in choices and n != "out" else "out" if n == "out" else "gradient"
             for n in parameters(name, KEYWORD)]  # fmt: skip
    assert order == sorted(order, key=["choice", "gradient", "out"].index)
    for gradient in parameters(name, KEYWORD):
        is_known = gradient.startswith("d") or gradient in ("out", "overwrite", *choices)
        assert is_known, gradient


def test_the_gradient_of_an_input_is_returned_and_that_of_a_parameter_added(backend):
    x, y, dy = np.random.default_rng(0).standard_normal((3, 2, 4))
    lora_a, lora_b = np.random.default_rng(1).standard_normal((2, 4, 4))
    h = ops.low_rank_forward(x, lora_a, lora_b, 0.5, y)
    twice = np.zeros_like(lora_b)
    dx = ops.low_rank_backward(dy, x, lora_a, lora_b, 0.5, h, dlora_b=twice)
    np.testing.assert_allclose(dx, 0.5 * dy @ lora_b @ lora_a)
    ops.low_rank_backward(dy, x, lora_a, lora_b, 0.5, h, dlora_b=twice)
    np.testing.assert_allclose(twice, 2 * dy.T @ h)
    dscores = np.ones((1, 1, 2, 2))
    assert ops.distance_bias_backward(dscores, dbias=np.zeros((1, 2))) is dscores


def test_an_operation_stands_in_one_list_beside_it():
    for backend in (reference, compiled):
        files = [m for n, m in sys.modules.items() if n.startswith(backend.__name__ + ".")]
        listed = [name for module in files for name in getattr(module, "__all__", ())]
        assert sorted(listed) == backend.__all__
    assert set(compiled.__all__) <= set(reference.__all__)
    assert set(ops.OPERATIONS) == set(reference.__all__) <= set(dir(ops))


# --- types ----------------------------------------------------------------------------------------


def complaints(tmp_path, code):
    """Run mypy on a file; return the lines of its errors, counted from 1."""
    pytest.importorskip("mypy")
    file = tmp_path / "planted.py"
    file.write_text(code)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(file)]
    root = Path(ops.__file__).parents[2]
    found = subprocess.run(command, capture_output=True, text=True, cwd=root).stdout.splitlines()
    return {
        int(line.split(":")[1]) for line in found if line.startswith(str(file)) and "error" in line
    }


@pytest.mark.slow
def test_mypy_knows_every_operation_and_finds_a_wrong_type_in_one(tmp_path):
    names = [f"ops.{name}" for name in ops.OPERATIONS]
    wrong = [
        "ops.no_such_operation",
        "ops.linear_forward('x', y)",
        "ops.linear_backward(y, y, y, y)",  # dweight is given by name
        "ops.attention_forward(y, y, y, scale='large')",
        "ops.dropout_forward(y, 0.5, 3)",
        "number: int = ops.softmax_forward(y)",
        "ops.adamw_update(y, y, y, y, 1, 0.1, 0.9, 0.9, 1e-8, None)",
    ]
    lines = ["import numpy as np", "from npgpt import ops", "y = np.zeros((2, 2))", *names, *wrong]
    first = len(lines) - len(wrong) + 1
    assert complaints(tmp_path, "\n".join(lines)) == set(range(first, len(lines) + 1))


@pytest.mark.slow
def test_mypy_finds_a_wrong_type_planted_inside_an_operation(tmp_path):
    source = inspect.getsource(sys.modules["npgpt.ops.reference.lora"])
    assert complaints(tmp_path, source) == set()
    right = "linear_backward(dy, h, lora_b, dweight=dlora_b)"
    assert source.count(right) == 1
    assert complaints(tmp_path, source.replace(right, right.replace("lora_b,", "scaling,", 1)))

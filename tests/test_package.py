"""The package as a whole: imports run one way, and public names are there."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import npgpt

PACKAGE = Path(npgpt.__file__).parent
ROOT = PACKAGE.parent

# Each room may import those before it. This is the one list; the documents show it.
ROOMS = (
    "version",
    "interruption",
    "files",
    "html_table",
    "text_table",
    "fields",
    "ops",
    "hub",
    "tokenizers",
    "layers",
    "optim",
    "data",
    "generation",
    "models",
    "evaluation",
    "training",
    "finetuning",
    "gradients",
    "runs",
    "experiments",
    "trace",
    "plots",
    "testing",
    "cli",
)
# A callback is told of the trainer that calls it; that word of a type is all it imports.
ALLOWED = {("npgpt.training.callbacks", "npgpt.training.trainer")}


def modules():
    """Map every module of the package to its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(module):
    """Yield the modules that one imports: anywhere in it, in functions and for types too."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inside]
        else:
            continue
        yield from (name for name in names if name in MODULES and name != module)


IMPORTS = {module: sorted(set(imports_of(module))) for module in MODULES}


def room_of(module):
    """The room of a module: ``npgpt.layers.core.layer`` is in ``layers``."""
    return module.split(".")[1] if "." in module else None


def test_imports_run_one_way():
    height = {room: place for place, room in enumerate(ROOMS)}
    wrong = [
        f"{module} imports {imported}"
        for module, others in IMPORTS.items()
        for imported in others
        if room_of(module) not in (None, "__main__", room_of(imported))
        and (imported == "npgpt" or height[room_of(imported)] > height[room_of(module)])
    ]
    assert not wrong


def test_no_module_reaches_itself_by_its_imports():
    left = {
        module: {name for name in others if (module, name) not in ALLOWED}
        for module, others in IMPORTS.items()
    }
    while ends := [module for module, others in left.items() if not others & left.keys()]:
        for module in ends:
            del left[module]
    assert not {module: sorted(others & left.keys()) for module, others in left.items()}


def test_every_room_is_in_the_list_and_every_name_of_it_is_there():
    rooms = {room_of(module) for module in MODULES} - {None, "__main__"}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/extend/how-it-fits.md"])
def test_the_documents_show_the_same_order(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = [re.findall(r"`(\w+)`", line) for line in text.splitlines() if "<- `" in line]
    assert [name for names in shown for name in names] == list(ROOMS)


PUBLIC = [module for module in MODULES if MODULES[module].name == "__init__.py"]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert len(set(public)) == len(public)
    assert all(hasattr(module, name) for name in public)


WITHOUT_SAFETENSORS = """
import sys
sys.modules["safetensors"] = None  # as if it were not installed
import numpy as np
import npgpt
model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=1, n_heads=1, d_model=4))
npgpt.tokenizers.CharTokenizer.train(["abc"]).save(sys.argv[1] + "/tokenizer.json")
ids = np.array([[1, 2, 3]])
with npgpt.ops.use("reference"):
    model.loss_and_backward(ids, ids)
attempts = {
    "save_checkpoint": lambda path: npgpt.training.save_checkpoint(path, {"a": ids}, {}),
    "save_pretrained": lambda path: model.save_pretrained(path.with_name("model")),
    "load_checkpoint": lambda path: npgpt.training.load_checkpoint(npgpt.__file__),
}
from pathlib import Path
for name, attempt in attempts.items():
    try:
        attempt(Path(sys.argv[1]) / "file")
    except RuntimeError as error:
        print(name, error)
"""


def test_without_safetensors_all_works_that_neither_reads_nor_writes_weights(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SAFETENSORS, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert [line.split()[0] for line in told] == [
        "save_checkpoint",
        "save_pretrained",
        "load_checkpoint",
    ]
    assert all("pip install safetensors" in line for line in told)

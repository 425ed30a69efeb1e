"""The package as a whole: imports run one way, and public names are there."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import npgpt

PACKAGE = Path(npgpt.__file__).parent
ROOT = PACKAGE.parent

# Each room may import those before it. This is the one list; the documents show it.
ROOMS = (
    "version",
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

"""The package as a whole: imports run one way, and public names are there."""

import ast
from pathlib import Path

import pytest

import npgpt

PACKAGE = Path(npgpt.__file__).parent
HEIGHT = {
    "ops": 0,
    "models": 2,
    "training": 3,
    "gradients": 3,
    "testing": 4,
    "experiments": 4,
    "finetuning": 3,
    "cli": 5,
}
MIDDLE = 1  # layers, generation, optim, data, tokenizers, hub
BELOW_ALL = {"version", "files", "html_table"}  # import nothing of the package but each other


def part_of(module):
    """The part that a module belongs to: ``npgpt.layers.core.layer`` is of ``layers``."""
    return module.split(".")[1] if "." in module else None


def imports():
    """Yield (file, its part, part that it imports) over the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE)
        importing = file.parts[0].removesuffix(".py")
        if importing in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.ImportFrom) and node.module == "npgpt":
                modules = [f"npgpt.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            for module in modules:
                imported = part_of(module) if module.startswith("npgpt.") else None
                if imported and imported != importing:
                    yield str(file), importing, imported


def test_imports_run_one_way():
    wrong = [
        f"{file} imports {imported}"
        for file, importing, imported in imports()
        if imported not in BELOW_ALL
        and (importing in BELOW_ALL or HEIGHT.get(imported, MIDDLE) > HEIGHT.get(importing, MIDDLE))
    ]
    assert not wrong


@pytest.mark.parametrize("module", [npgpt, npgpt.gradients, npgpt.layers, npgpt.optim])
def test_every_public_name_is_there(module):
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)

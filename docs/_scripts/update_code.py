"""Put the package's own code into the pages: ``python docs/_scripts/update_code.py [--check]``.

A page asks for code with a comment before a fence::

    <!-- code: npgpt/ops/reference/softmax.py softmax_backward -->
    ```python
    ...
    ```

The body of the fence becomes the source of that function, method, class or constant, without its
docstring.
With ``--check`` nothing is written; the status is 1 if a page is behind.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"(?P<head><!-- code: (?P<file>\S+) (?P<object>\S+) -->\n```python\n)(?P<body>.*?)(?=^```$)",
    re.DOTALL | re.MULTILINE,
)


def pages() -> list[Path]:
    """List the pages that may show code."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def source_of(file: str, name: str) -> str:
    """Return the source of ``name`` (dotted for a method), dedented, without its docstring."""
    text = (ROOT / file).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        found = [child for child in ast.iter_child_nodes(node) if _name_of(child) == part]
        if not found:
            raise LookupError(f"there is no {name} in {file}")
        node = found[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign)
    lines = text.splitlines()
    if isinstance(node, ast.Assign):
        return "\n".join(lines[node.lineno - 1 : node.end_lineno]) + "\n"
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    dropped: set[int] = set()
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        dropped = set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    kept = [lines[i - 1] for i in range(first, (node.end_lineno or first) + 1) if i not in dropped]
    return textwrap.dedent("\n".join(kept)) + "\n"


def _name_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def updated(page: Path) -> str:
    """Return the text of a page with every block brought up to date."""

    def replace(match: re.Match[str]) -> str:
        return match["head"] + source_of(match["file"], match["object"])

    return BLOCK.sub(replace, page.read_text(encoding="utf-8"))


def main() -> int:
    """Update the pages, or with --check name those that are behind."""
    behind = [page for page in pages() if updated(page) != page.read_text(encoding="utf-8")]
    for page in behind:
        if "--check" in sys.argv[1:]:
            print(f"{page.relative_to(ROOT)} shows code that has changed", file=sys.stderr)
        else:
            page.write_text(updated(page), encoding="utf-8")
    return 1 if behind and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())

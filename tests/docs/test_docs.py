"""What the pages show is true: code, examples, commands, links."""

import contextlib
import importlib.util
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?P<target>[^)#\s]+)(#(?P<anchor>[^)\s]+))?")

SCRIPTS = ROOT / "docs" / "_scripts"
spec = importlib.util.spec_from_file_location("update_code", SCRIPTS / "update_code.py")
update_code = importlib.util.module_from_spec(spec)
spec.loader.exec_module(update_code)

PAGES = update_code.pages()
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def fences(page):
    """Yield (info string, body, is code of the package) for every fence of a page."""
    text = page.read_text(encoding="utf-8")
    shown = {match.start("head") for match in update_code.BLOCK.finditer(text)}
    for match in FENCE.finditer(text):
        comment = text.rfind("<!-- code:", 0, match.start())
        yield (
            match["info"].strip(),
            match["body"],
            comment in shown and text[comment : match.start()].count("\n") == 1,
            text[: match.start()].count("\n") + 2,
        )


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_code_of_the_package_is_shown_as_it_is(page):
    assert update_code.updated(page) == page.read_text(encoding="utf-8"), (
        "run: python docs/_scripts/update_code.py"
    )


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_examples_run_and_print_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    printed = None
    for info, body, of_package, line in fences(page):
        if info == "python" and not of_package:
            code = compile("\n" * (line - 1) + body, str(page), "exec")
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(code, namespace)
            printed = out.getvalue()
        elif info == "text output":
            assert printed == body, f"{page}, line {line}"


@pytest.mark.parametrize(  # commands of the README here, of the pages among what is slow
    "page",
    [
        pytest.param(page, marks=[] if page.name == "README.md" else pytest.mark.slow, id=name)
        for page, name in zip(PAGES, IDS, strict=True)
    ],
)
def test_commands_run(page, tmp_path):
    for info, body, _, line in fences(page):
        if info != "console":
            continue
        for command in re.findall(r"^\$ (.*)$", body, re.MULTILINE):
            program, *arguments = shlex.split(command)
            assert program == "npgpt", f"{page}, line {line}: {command}"
            result = subprocess.run(
                [sys.executable, "-m", "npgpt", *arguments],
                cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            assert result.returncode == 0, f"{page}, line {line}: {command}\n{result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        target = page.parent / match["target"]
        assert target.exists(), match["target"]
        if match["anchor"]:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {
                re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings
            }
            assert match["anchor"] in anchors, match[0]


def test_a_page_that_is_behind_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    head = "<!-- code: npgpt/ops/reference/softmax.py softmax_backward -->\n```python\n"
    page.write_text(head + "something else\n```\n", encoding="utf-8")
    assert "something else" not in update_code.updated(page)
    with pytest.raises(LookupError, match="there is no nothing in"):
        update_code.source_of("npgpt/ops/reference/softmax.py", "nothing")

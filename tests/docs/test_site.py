"""The site: everything has its place and its words, and needs no network.

The tests that look at HTML build it, or take the folder that NPGPT_SITE names; they need the extra
``docs``.
"""

import ast
import html
import importlib
import itertools
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import npgpt

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
TOCTREE = re.compile(r"^```\{toctree\}\n(?::\w+:[^\n]*\n)*\n?(?P<entries>.*?)^```$", re.S | re.M)

sys.path.insert(0, str(DOCS / "_extensions"))
linear_notation = importlib.import_module("linear_notation")


def entries(page):
    """The pages that a page's toctree names, in order."""
    for match in TOCTREE.finditer(page.read_text(encoding="utf-8")):
        yield from (page.parent / f"{entry}.md" for entry in match["entries"].split())


def reading_order(page=DOCS / "index.md"):
    """A page and all below it, as "next" goes through them."""
    yield page
    for entry in entries(page):
        yield from reading_order(entry)


def public_names():
    """Map each module that has an ``__all__`` to it, unless its package hands all of it on."""
    modules = [module.name for module in pkgutil.walk_packages(npgpt.__path__, "npgpt.")]
    imported = {name: importlib.import_module(name) for name in modules if "__main__" not in name}
    found = {name: getattr(module, "__all__", None) for name, module in imported.items()}
    return {"npgpt": npgpt.__all__} | {
        name: public
        for name, public in found.items()
        if public and set(public) - set(found.get(name.rpartition(".")[0]) or ())
    }


def docstring_literals():
    """What stands in double backticks in the package's docstrings."""
    for file in (ROOT / "npgpt").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                for literal in re.findall(r"``(.+?)``", ast.get_docstring(node) or "", re.DOTALL):
                    yield " ".join(literal.split())


# --- what needs no site ---------------------------------------------------------------------------


def test_every_page_has_one_place_in_the_reading_order():
    order = list(reading_order())
    assert sorted(order) == PAGES


def test_every_page_has_one_title():
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        assert len(re.findall(r"^# \S", text, re.MULTILINE)) == 1, page


def test_every_picture_has_an_alternative_text():
    pictures = []
    for page in [*PAGES, ROOT / "README.md"]:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        assert "<img" not in text, page
        pictures += re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", text)
    assert len(pictures) > 15
    assert not [picture for text, picture in pictures if len(text.split()) < 3]


def test_every_room_has_a_page_in_the_reference():
    pages = {
        match[1]: page.stem
        for page in (DOCS / "reference").glob("*.md")
        if (match := re.search(r"^\.\. room:: (\S+)$", page.read_text(encoding="utf-8"), re.M))
    }
    assert pages == {room: room for room in public_names()}


def test_an_equation_of_a_docstring_is_mathematics():
    equations = {
        literal
        for literal in docstring_literals()
        if re.search(r" [-+*]?= |\^", literal) and not re.search(r"[\"'.]\w|<\||\w=\w", literal)
    }
    assert len(equations) > 80
    assert not [equation for equation in equations if linear_notation.to_tex(equation) is None]


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("y = x W_q^T + b_q", r"y = x\; W_{q}^{\top} + b_{q}"),
        ("x_hat = (x - mean) / sqrt(var + eps)",
         r"\hat{x} = \frac{x - \mathrm{mean}}{\sqrt{\mathrm{var} + \epsilon}}"),
        ("sum_s dw_ts w_ts", r"\sum_{s} dw_{ts}\; w_{ts}"),
        ("|G|^2", r"\lvert G \rvert^{2}"),
        ("x/2 (1 + tanh u)", r"\frac{x}{2}\; (1 + \tanh u)"),
        ("10000^(2i/d_model)", r"10000^{2 i/d_{\mathrm{model}}}"),
    ],
)  # fmt: skip
def test_the_linear_notation_of_docstrings_becomes_tex(text, tex):
    assert linear_notation.to_tex(text) == tex


@pytest.mark.parametrize(
    "text",
    ["x", "GPT(config, seed=0)", "--lr", "runs/small", "<|endoftext|>", "a = b = (", "3 .. 5"],
)
def test_what_is_no_equation_stays_code(text):
    assert linear_notation.to_tex(text) is None


# --- names ----------------------------------------------------------------------------------------


def test_every_name_in_a_docstring_leads_somewhere():
    pytest.importorskip("sphinx")
    rooms = importlib.import_module("rooms")
    rooms.rooms()  # imports every module
    lost, seen = [], 0
    for file in sorted((ROOT / "npgpt").rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for said_by, text in docstrings(ast.parse(file.read_text(encoding="utf-8")), module):
            for name in re.findall(
                r"(?<![`:])`([^`<>]+)`(?!`)", re.sub(r"``.+?``", "", text, flags=re.S)
            ):
                seen += 1
                if rooms.full_name(name, said_by) is None:
                    lost.append(f"{said_by}: {name}")
    assert seen > 250
    assert not lost


def docstrings(node, name):
    """Yield (full name, docstring) of a module, and of the classes and functions in it."""
    yield name, ast.get_docstring(node) or ""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from docstrings(child, f"{name}.{child.name}")


def test_every_public_constant_has_a_comment():
    pytest.importorskip("sphinx")
    rooms = importlib.import_module("rooms")
    silent = [
        f"{room}.{name}"
        for room, names in rooms.rooms().items()
        for name in names
        if rooms.kind_of(thing := getattr(sys.modules[room], name)) == "data"
        and not rooms.is_module(room, name)
        and not rooms.comment_on(thing, name)
    ]
    assert not silent


# --- mathematics ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mathml():
    for needed in ("math_core", "sphinx", "myst_parser"):
        pytest.importorskip(needed)
    return importlib.import_module("mathml")


def formulas():
    """Yield (page, TeX, has lines of its own) for each formula of the pages."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt().use(dollarmath_plugin)
    for page in PAGES:
        for token in parser.parse(page.read_text(encoding="utf-8")):
            for part in [token, *(token.children or [])]:
                if part.type.startswith("math"):
                    yield page, part.content, "block" in part.type


def test_every_formula_has_mathml(mathml):
    pages = [(page, tex, block) for page, tex, block in formulas()]
    docstrings = {linear_notation.to_tex(literal) for literal in docstring_literals()} - {None}
    assert len(pages) > 250
    assert len(docstrings) > 120
    for _, tex, block in [*pages, *(("", tex, False) for tex in docstrings)]:
        assert mathml.to_mathml(tex, block).startswith("<math")


def test_an_unknown_command_is_an_error(mathml):
    from sphinx.errors import ExtensionError

    with pytest.raises(ExtensionError, match="unknwon"):
        mathml.to_mathml(r"\unknwon{x}", block=False)


# --- the built site -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Map each page, without its suffix, to its HTML."""
    if folder := os.environ.get("NPGPT_SITE"):
        folder = ROOT / folder
    else:
        for needed in ("sphinx", "myst_parser", "furo", "sphinx_copybutton", "math_core"):
            pytest.importorskip(needed)
        folder = tmp_path_factory.mktemp("site")
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, folder]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    names = [page.relative_to(DOCS).with_suffix("") for page in PAGES]
    return {str(name): (folder / f"{name}.html").read_text(encoding="utf-8") for name in names}


def test_the_reference_has_every_public_name(site):
    for room, names in public_names().items():
        page = site[f"reference/{room}"]
        text = html.unescape(re.sub(r"<[^>]*>", "", page))
        for name in names:
            assert f'id="{room}.{name}"' in page or f"{room}.{name}" in text, f"{room}.{name}"


def test_the_site_needs_no_network(site):
    loaded = re.compile(r"<(?:script|img|iframe)[^>]*\ssrc=\"([^\"]*)|<link[^>]*href=\"([^\"]*)")
    for page, text in site.items():
        assert not [url for urls in loaded.findall(text) for url in urls if "//" in url], page


def test_no_tex_is_left(site):
    for page, text in site.items():
        words = re.sub(r"<(pre|code|script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert not re.search(r"\\[a-zA-Z({\[]|\$\$", re.sub(r"<[^>]*>", "", words)), page
    assert site["learn/derivations/attention"].count("<math") > 20
    assert site["reference/npgpt.ops.reference"].count("<math") > 60


def test_every_page_leads_to_the_next(site):
    order = [str(page.relative_to(DOCS).with_suffix("")) for page in reading_order()]
    for page, following in itertools.pairwise(order):
        (link,) = re.findall(r'<link rel="next"[^>]*href="([^"]*)"', site[page])
        assert os.path.normpath(f"{Path(page).parent}/{link}") == f"{following}.html"


def test_copies_leave_prompts_and_output_out(site):
    pytest.importorskip("sphinx_copybutton")
    settings = (DOCS / "conf.py").read_text(encoding="utf-8")
    prompt = re.search(r'^copybutton_prompt_text = r"(.*)"$', settings, re.MULTILINE)[1]
    lines = ["$ npgpt train", "step 1", ">>> f(x)", "... + 1", "2"]
    assert [bool(re.match(prompt, line)) for line in lines] == [True, False, True, True, False]
    assert all("copybutton.js" in text for text in site.values())

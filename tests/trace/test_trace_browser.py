"""The page of a trace in a browser: Chromium, without a window."""

import functools
import html as html_module
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.trace.trace_pages import Page, nasty_pages, plain_page, plain_trace

pytest.importorskip("jinja2")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="there is no Chromium to open the page with"
)
DRIVER = (Path(__file__).parent / "driver.js").read_text(encoding="utf-8")
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=4000", "--enable-logging=stderr",
]  # fmt: skip


def browse(folder, html, *options, fragment=""):
    """Open a page; return the document as it then is, and what went to the console."""
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    result = subprocess.run(
        [BROWSER, *QUIET, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri() + fragment],
        capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout, re.findall(r"CONSOLE.*", result.stderr)


def driven(html):
    """Add the driver to a copy of a page, whose policy would not let it run."""
    assert "script-src 'sha256-" in html
    loose = re.sub(r"script-src 'sha256-[^']+'", "script-src 'unsafe-inline'", html)
    return loose.replace("</body>", f"<script>{DRIVER}</script></body>")


@functools.cache
def use(folder, html, *options):
    """Let the driver use a page; return what it saw, and the console."""
    document, console = browse(folder, driven(html), *options)
    seen = re.search(r' data-seen="([^"]*)"', document)
    assert seen, console
    return json.loads(html_module.unescape(seen[1])), console


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


def test_selectors_change_what_is_visible(folder):
    seen, _ = use(folder, plain_page())
    assert seen["first"] == {
        "layers": ["0"], "heads": ["0", "none"], "kinds": ["grad", "value"], "labels": ["0"],
        "images": 14,  # q k v scores weights context of one head, output; with gradients
    }  # fmt: skip
    assert seen["layer 2"] == {**seen["first"], "layers": ["2"], "labels": ["2"]}
    assert seen["layer 2, head 1"] == {**seen["layer 2"], "heads": ["1", "none"]}
    gradients = {**seen["layer 2, head 1"], "kinds": ["grad"], "images": 7}
    assert seen["layer 2, head 1, gradients"] == gradients
    assert seen["all"]["layers"] == ["0", "1", "2"]
    assert seen["all"]["heads"] == ["0", "1", "none"]
    assert seen["all"]["images"] == 3 * (2 * 12 + 2)


def test_a_box_of_the_diagram_opens_and_is_read_next(folder):
    seen, _ = use(folder, plain_page())
    assert seen["focused"]
    assert (seen["before"], seen["after"]) == (False, True)
    assert seen["reader"] == "box-blocks-feed_forward"
    assert seen["opened"]
    assert seen["closed"]


def test_pointing_at_a_cell_reads_its_value(folder):
    seen, _ = use(folder, plain_page())
    boxes = {box.name: box for box in plain_trace().boxes}
    arrays = boxes["blocks.*.attention"].instances[0].arrays
    weights = next(array for array in arrays if array.name == "weights").value.maps[1]
    assert seen["read"][0] == "weights, head 1: row 0 a, column 0 a: ≥ 1.00"
    name, _, value = seen["read"][1].rpartition(": ≈ ")
    assert name == "weights, head 1: row 5 c, column 2 b"
    assert abs(float(value) - weights.cells[5, 2]) <= weights.scale / 127


def test_the_arrow_keys_go_from_cell_to_cell(folder):
    seen, _ = use(folder, plain_page())
    assert seen["tabs"] == 0
    assert seen["walked"].startswith("weights, head 1: row 2 b, column 1 b: ≈ ")


def test_nothing_is_loaded_and_the_console_stays_empty(folder):
    seen, console = use(folder, plain_page())
    assert seen["loaded"] == []
    assert console == []


def test_the_pages_own_script_is_allowed_by_its_policy(folder):
    document, console = browse(folder, plain_page())
    assert console == []
    assert "hidden" not in Page(document).all("form")[0].attributes


def test_a_script_that_is_not_the_pages_own_is_refused(folder):
    changed = plain_page().replace("</body>", "<script>document.title = 'changed'</script></body>")
    document, console = browse(folder, changed)
    assert "<title>changed" not in document
    assert "Content Security Policy" in " ".join(console)


def test_without_scripts_everything_is_visible(folder):
    without = re.sub(r"<script>.*?</script>", "", plain_page(), flags=re.DOTALL)
    seen, console = use(folder, without.replace("<html", "<html data-plain"))
    assert console == []
    assert seen.pop("images") == seen.pop("visible") == plain_page().count("<img")
    assert seen == {"instances": 0, "tables": 0, "controls": 0, "labels": ["0"]}


def test_without_scripts_a_link_of_the_diagram_opens_its_box(folder):
    without = re.sub(r"<script>.*?</script>", "", plain_page(), flags=re.DOTALL)
    name = "blocks.*.feed_forward"
    document, _ = browse(folder, without, fragment="#box-blocks-feed_forward")
    for html, opened in ((without, False), (document, True)):
        (box,) = [e for e in Page(html).all("details") if e.attributes.get("data-box") == name]
        assert ("open" in box.attributes) is opened


def test_a_text_that_tries_to_be_code_stays_text(folder):
    seen, console = use(folder, nasty_pages()[0])
    assert console == []
    assert seen["scripts"] == 2  # the page's and the driver
    assert "".join(seen["tokens"]).startswith("</style><script>alert(1)</script>\"'&amp;↵⇥\\x00")
    assert not seen["wide"]


def test_the_page_is_no_wider_than_its_window(folder):
    seen, _ = use(folder, plain_page(), "--window-size=500,900")
    assert not seen["wide"]


def test_a_page_without_heads_works_as_well(folder):
    seen, console = use(folder, plain_page("lstm"), "--window-size=500,900")
    assert console == []
    assert not seen["wide"]
    assert seen["first"]["layers"] == ["0"]
    assert seen["first"]["images"] == 2
    assert seen["reader"] == "box-network-forget_gate"
    assert seen["layer 1"]["layers"] == ["1"]
    assert seen["walked"].startswith("cell_l0: row 2 b, column 1: ≈ ")

"""The HTML page of a trace: templates, a style sheet, a script, and what they are filled with.

Everything is inside the page. Jinja2 escapes every text; no data goes into the script, which is
only allowed to run by its hash, so that a text cannot become code.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
from pathlib import Path
from typing import TYPE_CHECKING

from npgpt.trace.data import TraceData
from npgpt.trace.page import colours
from npgpt.trace.page.depth_plots import depth_plots, layer_word, time_plots
from npgpt.trace.page.diagram import diagram
from npgpt.trace.page.heat_images import heat_image
from npgpt.trace.page.strips import attribution_strips, logit_rows, loss_strip
from npgpt.trace.token_text import printable
from npgpt.version import __version__

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
FAMILIES = {
    "GPT": "a GPT",
    "RNNLM": "an RNN",
    "GRULM": "a GRU",
    "LSTMLM": "an LSTM",
    "ConvolutionalLM": "convolutions",
}
OPENED = ("cell", "hidden", "value", "gate")  # of what a step makes: what says most at first sight
FRAME_HEIGHT = 800  # pixels in a notebook


def page(trace: TraceData) -> str:
    """Draw a trace as one HTML page.

    Raises
    ------
    ModuleNotFoundError
        If Jinja2 or Pillow is not installed.
    """
    environment = _environment()
    environment.filters.update(
        number=number, brief=brief, printable=printable, anchor=anchor, style=colours.style
    )
    environment.globals.update(heat_image=heat_image, largest=colours.largest)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        trace=trace,
        version=__version__,
        script=script,
        script_hash=f"sha256-{digest}",
        style_sheet=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        legend=colours.gradient(),
        palette=colours.palette_text(),
        loss_strip=loss_strip(trace),
        attribution_strips=attribution_strips(trace),
        logit_rows=logit_rows(trace),
        plots=[*depth_plots(trace), *time_plots(trace)],
        diagram=diagram(trace),
        n_layers=trace.n_layers,
        heads=_most_heads(trace),
        family=FAMILIES.get(trace.boxes[0].kind, "a language model"),
        opened=_opened(trace),
        layer_word=layer_word(trace),
    )


def frame(trace: TraceData) -> str:
    """Put the page into a frame of its own, for a notebook."""
    return (
        f'<iframe srcdoc="{html.escape(page(trace))}" sandbox="allow-scripts" '
        f'title="npgpt trace" style="width:100%;height:{FRAME_HEIGHT}px;border:0"></iframe>'
    )


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with three digits that count, or another number of them, and a true minus.

    Examples
    --------
    >>> number(-0.000123), number(1234.5), number(None)
    ('−1.23e−04', '1.23e+03', '')
    """
    if value is None:
        return ""
    if math.isnan(value):
        return "none"
    size = abs(value)
    plain = size == 0 or 1e-3 <= size < 1e3
    text = f"{value:.{digits}g}" if plain else f"{value:.{digits - 1}e}"
    return text.replace("-", "−")


def brief(value: float | None, scale: float) -> str:
    """Write a number with two digits that count; 0 if it is small beside ``scale``.

    Examples
    --------
    >>> brief(0.1234, 1.0), brief(-0.001, 1.0), brief(None, 1.0)
    ('0.12', '0', '–')
    """
    if value is None:
        return "–"
    if abs(value) < scale / 200:
        return "0"
    return number(value, 2)


def anchor(name: str) -> str:
    """Turn a dotted name into an id of the page."""
    return "box-" + (name.replace(".*", "").replace(".", "-") or "model")


def check_installed() -> None:
    """Raise ModuleNotFoundError, saying what to install, unless a page can be made."""
    try:
        import jinja2  # noqa: F401
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        package = "Jinja2" if error.name == "jinja2" else "Pillow"
        raise ModuleNotFoundError(
            f"the page of a trace needs {package}: pip install 'npgpt[lab]' brings it."
        ) from None


def _environment() -> jinja2.Environment:
    check_installed()
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _opened(trace: TraceData) -> list[str]:
    """Name the boxes that are open at first."""
    return [
        box.name
        for box in trace.boxes
        if (box.place.stack and box.place.rest == "attention")
        or (not box.code and box.name.rpartition(".")[2] in OPENED)
    ]


def _most_heads(trace: TraceData) -> int:
    return max(
        (
            array.value.shape[0]
            for box in trace.boxes
            for instance in box.instances
            for array in instance.arrays
            if array.has_heads
        ),
        default=0,
    )

"""Mathematics as MathML, made when the pages are built: a reader needs no script and no network."""

from __future__ import annotations

import html

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

CONVERTER = LatexToMathML(fancy_error=False)


def to_mathml(tex: str, block: bool) -> str:
    """Convert TeX to MathML.

    Raises
    ------
    ExtensionError
        If the converter does not know a command, or a brace is missing.
    """
    try:
        return CONVERTER.convert_with_local_state(tex, displaystyle=block)
    except LatexError as error:
        raise ExtensionError(f"The formula {tex!r} has no MathML: {error}") from error


def visit_inline(translator, node: nodes.math) -> None:
    """Write a formula within a line; the title tells a reader who points at it the TeX."""
    translator.body.append(to_mathml(node.astext(), block=False))
    raise nodes.SkipNode


def visit_block(translator, node: nodes.math_block) -> None:
    """Write a formula with lines of its own, which scrolls where it is wider than the page."""
    identifiers = "".join(f' id="{html.escape(name)}"' for name in node["ids"][:1])
    formula = to_mathml(node.astext(), block=True)
    translator.body.append(f'<div class="math-block" tabindex="0"{identifiers}>{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

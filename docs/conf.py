"""Sphinx settings: ``sphinx-build -W docs docs/_build``, with the extra ``docs``."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from npgpt import __version__  # noqa: E402

project = "npgpt"
author = "the npgpt authors"
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "rooms",
]
exclude_patterns = ["_build", "_extensions", "_scripts", "_static"]
nitpicky = True  # a name in a docstring that leads nowhere is a warning

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # links may lead to a heading
suppress_warnings = ["misc.highlighting_failure"]

default_role = "py:obj"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_param = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"npgpt {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_line_continuation_character = "\\"
copybutton_prompt_is_regexp = True  # a copy has the commands, without prompts and output
copybutton_selector = "div.highlight-python pre, div.highlight-console pre, div.doctest pre"

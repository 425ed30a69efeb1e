"""Sphinx settings: ``sphinx-build docs docs/_build``, with the extra ``docs``."""

import re
from pathlib import Path

project = "npgpt"
author = "the npgpt authors"
package = Path(__file__).parent.parent / "npgpt" / "version.py"
release = re.search(r'__version__ = "(.*)"', package.read_text(encoding="utf-8")).group(1)

extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # links may lead to a heading
html_theme = "furo"
html_title = f"npgpt {release}"
exclude_patterns = ["_build"]
suppress_warnings = ["misc.highlighting_failure"]

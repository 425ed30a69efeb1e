"""Draw the pictures of docs/gradients/trace.md: ``python docs/_scripts/draw_trace.py RUN``.

Needs Chromium. The pictures in the repository are those of runs of ``npgpt train --steps 200`` and
``npgpt train --model lstm --steps 200``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from npgpt.runs import open_model
from npgpt.trace import trace

IMAGES = Path(__file__).resolve().parent.parent / "images"
TEXT = "The with statement is used to wrap the execution of a block with methods."
PICTURES = {  # name: style added to the page, size of the window
    "trace-tokens": ("header, #model, #reading, footer { display: none }", (1000, 1150)),
    "trace-model": (
        "header, #tokens, #explanation, #flow, #reading, footer, .code, #model > p, "
        ".pair:not(.head), h5:nth-of-type(-n+3), h5:nth-of-type(-n+3) + .heads { display: none } "
        "h2 { border: 0 }",
        (1160, 1480),
    ),
}
PICTURES_OF_STATES = {
    "trace-lstm": (
        "header, #tokens, #explanation, #flow, #reading, footer, #model > p { display: none } "
        ".box { display: none } "
        '[data-box="network.forget_gate"], [data-box="network.cell"] { display: block } '
        "h2 { border: 0 }",
        (1160, 960),
    ),
}


def screenshot(page: str, size: tuple[int, int], out: Path) -> None:
    """Open a page in Chromium and write what is to be seen, in few colours."""
    with tempfile.TemporaryDirectory() as folder:
        file, picture = Path(folder) / "page.html", Path(folder) / "page.png"
        file.write_text(page, encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += [f"--user-data-dir={folder}/profile", "--virtual-time-budget=3000"]
        options += [f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}"]
        browser = shutil.which("chromium") or "google-chrome"
        subprocess.run([browser, *options, file.as_uri()], check=True, capture_output=True)
        with Image.open(picture) as image:
            few = image.convert("RGB").quantize(
                48, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            )
            few.save(out, optimize=True)


def main() -> None:
    """Trace a text through the run's model and draw parts of its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    opened = open_model(parser.parse_args().run)
    page = trace(opened.model, opened.tokenizer, TEXT).to_html()
    pictures = PICTURES if 'id="head"' in page else PICTURES_OF_STATES
    page = page.replace('data-box="network.forget_gate"', 'data-box="network.forget_gate" open')
    for name, (style, size) in pictures.items():
        changed = re.sub("</style>", f"{style}</style>", page, count=1)
        screenshot(changed, size, IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()

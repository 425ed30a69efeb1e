"""Pictures of what was measured, which stands on the screen or in a file before they are drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from npgpt.cli.shared.console import console, tell


def draw(path: Path, plot: Callable[..., None], *arguments: Any) -> None:
    """Draw a picture.

    Raises
    ------
    RuntimeError
        Whatever the reason is for which it could not be drawn.
    """
    try:
        plot(*arguments)
    except Exception as error:
        raise RuntimeError(f"{path} could not be drawn ({error}).") from error


def draw_last(path: Path | None, as_json: bool, plot: Callable[..., None], *arguments: Any) -> None:
    """Draw the picture that ``--plot`` asks for, when the result has been printed.

    Parameters
    ----------
    path : Path or None
        None draws nothing.
    as_json : bool
        Whether standard output is JSON, to which nothing is added.
    plot : function
    *arguments
        Of ``plot``.
    """
    if path is None:
        return
    sys.stdout.flush()
    draw(path, plot, *arguments)
    if not as_json:
        console.print(f"Plot: {path}", soft_wrap=True)


def drawn(path: Path, plot: Callable[..., None], *arguments: Any) -> bool:
    """Draw a picture of a run, and say whether it is there.

    What is learned is on the disk by then: a picture that cannot be drawn costs a note only.
    """
    try:
        draw(path, plot, *arguments)
    except RuntimeError as error:
        tell(f"Note: {error}")
        return False
    return True

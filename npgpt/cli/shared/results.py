"""What an experiment found: as a table or as JSON, then as a picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from npgpt.cli.shared.pictures import draw_last


def show_results(
    results: Sequence[Any],
    print_table: Callable[..., None],
    as_json: bool,
    path: Path | None,
    plot: Callable[..., None],
    *arguments: Any,
) -> None:
    """Print results, and draw the picture that ``--plot`` asks for.

    Parameters
    ----------
    results : sequence of dataclass
        Of an experiment that was stopped those that there are; nothing is shown of none.
    print_table : function
        Of ``results``; not called for JSON.
    as_json : bool
    path : Path or None
        None draws nothing.
    plot : function
        Of ``results``, then the arguments, then the path.
    *arguments
    """
    if not results:
        return
    if as_json:
        print(json.dumps([dataclasses.asdict(result) for result in results]))
    else:
        print_table(results)
    draw_last(path, as_json, plot, results, *arguments, path)

"""Tables on the screen."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from npgpt.cli.shared.console import console

FORMATS = {float: ",.4f", int: ","}


def make_table(title: str, *columns: str, left: int = 1) -> Table:
    """Make a table with a title, of columns of which the first ``left`` are texts."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < left else "right", overflow="fold")
    return table


def plain_table(**second_column: Any) -> Table:
    """Make a table of names and values, without lines."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", overflow="fold")
    table.add_column(**{"overflow": "fold", **second_column})
    return table


def print_numbers(numbers: dict[str, Any], as_json: bool) -> None:
    """Print what was measured, a number a line, or as one object of JSON."""
    if as_json:
        print(json.dumps(numbers))
        return
    for key, value in numbers.items():
        shown = format(value, FORMATS.get(type(value), ""))
        console.print(f"{key.replace('_', ' '):<18} {shown}", soft_wrap=True)

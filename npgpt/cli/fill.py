"""npgpt fill."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from npgpt.cli.app import tells_errors
from npgpt.cli.shared.arguments import (
    AsJson,
    BertModel,
    Checkpoint,
    Revision,
    open_bert_argument,
)
from npgpt.cli.shared.console import console, read_input, shown_on
from npgpt.cli.shared.tables import make_table


@tells_errors
def fill_command(
    model: BertModel,
    text: Annotated[
        str, typer.Argument(help="A text with [MASK] in it; - reads it from standard input.")
    ],
    top_k: Annotated[int, typer.Option(min=1, help="Words to show for each mask.")] = 5,
    checkpoint: Checkpoint = "best",
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Find the words that stand in the masked places of a text, with their probabilities.

    Of several masks each is asked for while the others are masked. With a vocabulary of pieces, one
    that begins with ## goes on with the word before it.

    [bold]Examples[/bold]

      npgpt fill runs/masked "The [MASK] statement"

      npgpt fill bert-base-uncased "The [MASK] of [MASK] is Paris." --top-k 3
    """
    opened = open_bert_argument(model, checkpoint, revision)
    text = read_input().removesuffix("\n") if text == "-" else text  # the line's own end
    filled = opened.fill(text, top_k)
    if as_json:
        masks = [[candidate._asdict() for candidate in found] for found in filled.masks]
        print(json.dumps({"text": text, "filled": filled.text, "masks": masks}))
        return
    from npgpt.trace.token_text import visible

    table = make_table("Masked words", "mask", "word", "probability", left=2)
    for number, found in enumerate(filled.masks, 1):
        for rank, candidate in enumerate(found):
            label = "" if rank else str(number)
            table.add_row(label, visible(candidate.token), f"{candidate.probability:.4f}")
        table.add_section()
    console.print(table)
    print(shown_on(sys.stdout, filled.text))

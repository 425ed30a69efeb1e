"""npgpt chat."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npgpt.cli.app import notes_for_warnings, tells_errors
from npgpt.cli.shared.arguments import Checkpoint, Dtype, Model, Revision, open_argument
from npgpt.cli.shared.console import read_line, write_pieces
from npgpt.cli.shared.options import usage_errors, with_options
from npgpt.generation import Sampling

if TYPE_CHECKING:
    from npgpt.runs import OpenedModel

HELP = "/reset forgets what was said, /exit or Ctrl-D ends, Ctrl-C ends an answer only."
DRAWN = {"temperature": 0.7, "top_p": 0.9}  # other defaults than npgpt generate has
# where each template's answers end, besides the end of a document
STOPS = {"alpaca": ["\n### "], "chat": ["<|user|>"], "plain": []}


@tells_errors
@with_options(Sampling, defaults=DRAWN)
def chat_command(
    model: Model,
    template: Annotated[
        str | None,
        typer.Option(
            help="How a line becomes a prompt: alpaca (each line alone), chat (a user's turn after "
            "those before), or plain (the text so far).",
            show_default="the one that the model was fine-tuned with, or plain",
        ),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 256,
    checkpoint: Checkpoint = "best",
    revision: Revision = None,
    dtype: Dtype = "float32",
    **settings: Any,
) -> None:
    """Talk with a model, line by line; for models that were fine-tuned on instructions.

    When the input is not a terminal, each of its lines is answered.

    [bold]Examples[/bold]

      npgpt chat runs/instructions

      echo "Name three colours." | npgpt chat runs/instructions --temperature 0
    """
    if template is not None and template not in STOPS:
        raise typer.BadParameter(f"--template must be one of {', '.join(STOPS)}, got {template}.")
    with usage_errors():
        sampling = Sampling(**DRAWN | settings)
    opened = open_argument(model, checkpoint, revision, dtype)
    template = template or (opened.run and opened.run.template) or "plain"
    write_prompt = _prompt_writer(template)
    at_terminal, past, turn = sys.stdin.isatty(), "", 0
    if at_terminal:
        # what a shell starts in the background inherits an ignored Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print(HELP)
    while True:
        # Ctrl-C may come a moment after an answer's end: at a terminal it never ends the talk
        try:
            line = _read_line(at_terminal)
            if line is None:
                return
            if line == "/reset":
                past, turn = "", 0
            elif line.strip():
                past, turn = write_prompt(past and f"{past}\n", line), turn + 1
                seed = None if sampling.seed is None else sampling.seed + turn - 1
                drawn = {**DRAWN, **settings, "seed": seed}
                answer = _answer(opened, past, max_new_tokens, STOPS[template], drawn)
                for piece in write_pieces(answer):
                    past += piece
                print(flush=True)
        except KeyboardInterrupt:
            if not at_terminal:
                raise
            print(flush=True)


def _read_line(at_terminal: bool) -> str | None:
    """Return what is said next, indentation included; None at the end."""
    if at_terminal:
        try:
            line = input("> ")
        except EOFError:
            print()
            return None
    else:
        line = read_line()
        if not line:
            return None
    line = line.rstrip("\r\n")
    command = line.strip()
    if command == "/exit":
        return None
    return command if command == "/reset" else line


def _answer(
    opened: OpenedModel, prompt: str, max_new_tokens: int, stop: list[str], sampling: dict
) -> Iterator[str]:
    from npgpt.generation import sampling_with, stream_text

    tokenizer = opened.tokenizer
    drawn = sampling_with(tokenizer, opened.model, **sampling)
    prompt_ids = tokenizer.encode_prompt(prompt)
    with notes_for_warnings():
        tokens = opened.model.stream(prompt_ids, max_new_tokens, drawn)
        ids = (int(token[0]) for token in tokens)
        yield from stream_text(ids, tokenizer.decode, stop, drawn.stop_id, prompt_ids, prompt)


def _prompt_writer(template: str) -> Callable[[str, str], str]:
    """Return the function of (what was said before, line) that writes a prompt."""
    if template == "plain":
        return lambda past, line: f"{past}{line}\n"
    from npgpt.finetuning.templates import PROMPTS

    if template == "chat":
        return lambda past, line: past + PROMPTS["chat"](line)
    return lambda past, line: PROMPTS["alpaca"](line)

"""The npgpt command: one file a subcommand, each a thin layer over the library.

What several commands need is in ``shared`` and no command itself; options are made from the fields
of configs (``shared.options``).

Libraries are imported inside the commands where they are slow to load, so that ``--help`` answers
at once.
"""

from npgpt.cli.app import app, main
from npgpt.cli.chat import chat_command
from npgpt.cli.classify import classify_command
from npgpt.cli.data import data_app
from npgpt.cli.embed import embed_command
from npgpt.cli.evaluate import evaluate_command
from npgpt.cli.experiment_translation import experiment_app
from npgpt.cli.fill import fill_command
from npgpt.cli.finetune import finetune
from npgpt.cli.flow import flow_command
from npgpt.cli.generate import generate_command
from npgpt.cli.gradcheck import gradcheck_command
from npgpt.cli.info import info_command
from npgpt.cli.memory import memory_command
from npgpt.cli.tokenize import tokenize_command
from npgpt.cli.trace import trace_command
from npgpt.cli.train import train_command
from npgpt.cli.translate import translate_command

COMMANDS = {
    "train": train_command,
    "tokenize": tokenize_command,
    "generate": generate_command,
    "chat": chat_command,
    "translate": translate_command,
    "fill": fill_command,
    "embed": embed_command,
    "eval": evaluate_command,
    "classify": classify_command,
    "info": info_command,
    "memory": memory_command,
    "gradcheck": gradcheck_command,
    "trace": trace_command,
    "flow": flow_command,
}
app.add_typer(finetune, name="finetune")
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(experiment_app)
app.add_typer(data_app, name="data")

__all__ = ["app", "main"]

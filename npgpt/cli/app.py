"""The application object, and how errors reach the user."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console

from npgpt.cli.shared.old_spellings import OldSpellings
from npgpt.ops.threads import number_from_environment
from npgpt.version import __version__

INTERRUPTED = 130  # what a shell reports for a program that SIGINT ended

HELP = {"help_option_names": ["-h", "--help"]}  # of each group of commands

# all commands, for a test with typer.testing or a command line of your own
app = typer.Typer(
    name="npgpt",
    cls=OldSpellings,
    help="Train, study and run GPT in NumPy, with every gradient written by hand.",
    epilog="Start with: npgpt train",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=HELP,
)


class PipedConsole(Console):
    """A console that leaves a closed pipe to `tells_errors`, as `print` does."""

    def on_broken_pipe(self) -> None:
        """Raise on, instead of ending with status 1; rich calls this while it handles the error."""
        raise BrokenPipeError


console = PipedConsole(highlight=False)
error_console = Console(stderr=True, highlight=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"npgpt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@contextlib.contextmanager
def notes_for_warnings() -> Iterator[None]:
    """Print warnings that the block gives as one line each, on standard error."""

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        print(f"Note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


def tells_errors(command):
    """Make a command print its errors as one sentence and exit with status 1.

    With ``NPGPT_TRACEBACK=1`` in the environment the traceback is shown instead.
    """

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        if os.environ.get("NPGPT_TRACEBACK"):
            return command(*args, **kwargs)
        try:
            number_from_environment()  # a mistake in it is told before anything is done
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):  # these are RuntimeErrors, and no errors of ours
            raise
        except BrokenPipeError:
            # the reader of our output has gone (as in "npgpt generate ... | head"): not an error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            print("\nInterrupted.", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except MemoryError as error:
            print(f"Error: not enough memory ({error}).", file=sys.stderr)
            raise typer.Exit(1) from None
        except (ValueError, RuntimeError, OSError, ModuleNotFoundError) as error:
            print(f"Error: {error}", file=sys.stderr)
            raise typer.Exit(1) from None

    return wrapped


def main() -> None:
    """Run the npgpt command."""
    app()

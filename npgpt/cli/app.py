"""The application object, and how errors reach the user."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from npgpt.cli.shared.console import escaped, prepare_streams, tell
from npgpt.cli.shared.old_spellings import OldSpellings
from npgpt.interruption import INTERRUPTED, raising
from npgpt.ops.threads import number_from_environment
from npgpt.version import __version__

HELP = {"help_option_names": ["-h", "--help"]}  # of each group of commands
UsageError: Any = typer.BadParameter.__base__


class Commands(OldSpellings):
    """The npgpt command: any encoding will do, and an interruption has its status anywhere."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command line."""
        prepare_streams()
        try:
            return super().main(*args, **options)
        except OSError as error:  # of what is printed outside of a command, such as its help
            tell(f"Error: {error}")
            sys.exit(1)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            with raising():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            tell("\nInterrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except UsageError as error:
            error.message = escaped(error.message)
            raise


# all commands, for a test with typer.testing or a command line of your own
app = typer.Typer(
    name="npgpt",
    cls=Commands,
    help="Train, study and run GPT in NumPy, with every gradient written by hand.",
    epilog="Start with: npgpt train",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=HELP,
)


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
        tell(f"Note: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


def tells_errors(command: Callable) -> Callable:
    """Make a command print its errors as one sentence and exit with status 1.

    With ``NPGPT_TRACEBACK=1`` in the environment the traceback is shown instead.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get("NPGPT_TRACEBACK"):
            return command(*args, **kwargs)
        try:
            number_from_environment()  # a mistake in it is told before anything is done
            result = command(*args, **kwargs)
            sys.stdout.flush()  # a pipe that nobody reads is met here, not when Python ends
            return result
        except (typer.Exit, typer.Abort):  # these are RuntimeErrors, and no errors of ours
            raise
        except BrokenPipeError:
            # the reader of our output has gone (as in "npgpt generate ... | head"): not an error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            tell("\nInterrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except MemoryError as error:
            tell(f"Error: not enough memory ({error}).")
            raise typer.Exit(1) from None
        except OverflowError as error:
            raise typer.BadParameter(f"a number is too large ({error}).") from None
        except (ValueError, RuntimeError, OSError, ModuleNotFoundError) as error:
            tell(f"Error: {error}")
            raise typer.Exit(1) from None

    return wrapped


def main() -> None:
    """Run the npgpt command."""
    app()

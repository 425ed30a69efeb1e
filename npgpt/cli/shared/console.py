r"""What commands print: the one place where texts meet a screen or a pipe.

A text is a text: rich's markup, its codes for emoji and its highlighting are off, so that brackets
in a file's name, a label or a model's text are shown as they are; what is bold is a
`rich.text.Text` that `TextConsole.styled` makes. At a terminal, characters that would command it
(escape sequences, marks of direction) are written as ``\x1b``; piped output stays as it is. What an
encoding lacks is written so too, and frames and bars as ASCII.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from rich.console import Console, ConsoleDimensions
from rich.text import Text

# C0 and C1 but the ends of lines and tabs; marks and overrides of direction
CONTROLS = re.compile(
    r"\r(?!\n)|[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
NARROWEST = 20  # columns: below, tables lose what they show
VISIBLE = "npgpt.visible"  # the name of `write_visibly` as an error handler of encodings
OURS = ("strict", "surrogateescape", "backslashreplace")  # handlers that nobody has chosen
HORIZONTAL, VERTICAL = set("─━┄┅┈┉╌╍═╴╶╸╺╼╾"), set("│┃┆┇┊┋╎╏║╵╷╹╻╽╿")


def escaped(text: str) -> str:
    r"""Write control characters as escape sequences of Python's.

    Examples
    --------
    >>> escaped("one\x1b[2J two\u202e\n")
    'one\\x1b[2J two\\u202e\n'
    """
    return CONTROLS.sub(lambda found: _escape(found[0]), text)


def shown_on(stream: TextIO, text: str) -> str:
    """Return a text as it may be written to a stream: escaped at a terminal."""
    return escaped(text) if stream.isatty() else text


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode() if ord(character) > 0x7F else (
        f"\\x{ord(character):02x}"
    )  # fmt: skip


def write_visibly(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: an error handler, as of `codecs.register_error`.

    Frames and bars become ``- | + #``, everything else an escape sequence of Python's.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(character: str) -> str:
    if character in HORIZONTAL:
        return "-"
    if character in VERTICAL:
        return "|"
    if "\u2500" <= character <= "\u257f":
        return "+"
    if "\u2580" <= character <= "\u259f" or "\u2800" <= character <= "\u28ff":
        return "#"
    return _escape(character)


codecs.register_error(VISIBLE, write_visibly)


def prepare_streams() -> None:
    """Let standard output and error take any text, whatever their encoding.

    An error handler that the user has chosen (``PYTHONIOENCODING=ascii:ignore``) stays. In the
    place of a stream that is closed (``<&-``) stands one that is empty, or that nobody reads.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    chosen = ":" in os.environ.get("PYTHONIOENCODING", "")
    if isinstance(sys.stdin, io.TextIOWrapper) and not chosen:
        sys.stdin.reconfigure(errors="strict")  # in some locales bytes become surrogates
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in OURS:
            try:
                "\ufffd\n".encode(stream.encoding, VISIBLE)
                stream.reconfigure(errors=VISIBLE)
            except (UnicodeError, LookupError):  # an encoding that cannot replace, such as idna
                stream.reconfigure(encoding="utf-8", errors=VISIBLE)


class TextConsole(Console):
    """A console for which a text is a text."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    @property  # type: ignore[misc]  # rich's can be set too
    def size(self) -> ConsoleDimensions:
        """The width and height, of which an environment may say nonsense (``COLUMNS=0``)."""
        width, height = super().size
        return ConsoleDimensions(max(width, NARROWEST), height)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make what is printed of a text; rich calls this for cells and titles too."""
        return super().render_str(self._shown(text), **{**options, "markup": False, "emoji": False})

    def styled(self, text: str, style: str = "bold", rest: str = "") -> Text:
        """Return a text in a style, and another behind it without."""
        return Text.assemble((self._shown(text), style), self._shown(rest))

    def plain(self, text: str) -> Text:
        """Return a text for what would read markup in it, such as a panel."""
        return Text(self._shown(text))

    def status(self, status: Any, **options: Any) -> Any:
        """Show that something is being done, and what."""
        words = self.plain(status) if isinstance(status, str) else status
        return super().status(words, **options)

    def on_broken_pipe(self) -> None:
        """Raise on, instead of ending with status 1; rich calls this while it handles the error."""
        raise BrokenPipeError

    def _shown(self, text: str) -> str:
        return escaped(text) if self.is_terminal else text


console = TextConsole()
error_console = TextConsole(stderr=True)


def tell(message: str) -> None:
    """Print a line on standard error, if anybody is there to read it."""
    with contextlib.suppress(OSError):
        print(shown_on(sys.stderr, message), file=sys.stderr)


def write_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """Write a text on standard output as it is made, and yield its pieces.

    Half of a line's end is held back: alone it would overwrite the line.
    """
    held = ""
    for piece in pieces:
        whole, held = f"{held}{piece}", ""
        if whole.endswith("\r"):
            whole, held = whole[:-1], "\r"
        sys.stdout.write(shown_on(sys.stdout, whole))
        sys.stdout.flush()
        yield piece
    sys.stdout.write(shown_on(sys.stdout, held))
    sys.stdout.flush()


def read_input() -> str:
    """Read all of standard input."""
    return _read(sys.stdin.read)


def read_line() -> str:
    """Read a line of standard input; nothing at its end."""
    return _read(sys.stdin.readline)


def _read(reads: Callable[[], str]) -> str:
    try:
        return reads()
    except UnicodeError as error:
        raise ValueError(
            f"Standard input is not {sys.stdin.encoding} text ({error}); convert it, or name its "
            "encoding with PYTHONIOENCODING."
        ) from None

"""An option with several numbers behind it."""

from __future__ import annotations

from typer.core import TyperCommand


class ManyShots(TyperCommand):
    """Let ``--shots 0 1 5`` mean ``--shots 0 --shots 1 --shots 5``."""

    def parse_args(self, ctx, args):
        """Repeat the option before each of its numbers."""
        spread: list[str] = []
        after_shots = False
        for argument in args:
            if after_shots and argument.isdigit():
                spread += ["--shots", argument]
                continue
            after_shots = argument == "--shots"
            if not after_shots:
                spread.append(argument)
            elif argument is args[-1]:
                spread.append(argument)  # its number is missing, as the parser will say
        return super().parse_args(ctx, spread)

"""Commands as earlier versions had them, which keep working."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from npgpt.cli.shared.console import tell


class OldSpellings(TyperGroup):
    """Let ``info --memory CONFIG`` mean ``memory CONFIG``, ``--shots 0 1`` mean ``--shots 0,1``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name, and give it those of today."""
        if args[0] == "info" and any(a.partition("=")[0] == "--memory" for a in args):
            tell("Note: npgpt info --memory is npgpt memory now.")
            rest = [part for a in args[1:] for part in _split(a, "--memory")]
            args = ["memory", *(part for part in rest if part != "--memory")]
        elif args[0] == "eval":
            args = _one_list(args, "--shots")
        return super().resolve_command(ctx, args)


def _split(argument: str, option: str) -> list[str]:
    """Split ``--option=value`` in two."""
    return argument.split("=", 1) if argument.startswith(f"{option}=") else [argument]


def _one_list(args: list[str], option: str) -> list[str]:
    """Join all numbers behind an option, also a repeated one, with commas."""
    numbers: list[str] = []
    others: list[str] = []
    is_behind = False
    for argument in (part for a in args for part in _split(a, option)):
        if argument == option or (is_behind and argument.replace(",", "").isdigit()):
            is_behind = True
            numbers += [argument] * (argument != option)
        else:
            is_behind = False
            others.append(argument)
    return [*others, option, ",".join(numbers)] if numbers else args

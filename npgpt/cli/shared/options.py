"""Options of a command, made from the fields of dataclasses."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

from npgpt.fields import FromOthers, help_of, option_of


def options_of(
    config_class: type,
    names: Container[str] | None = None,
    defaults: Mapping[str, Any] = types.MappingProxyType({}),
    arguments: Container[str] = (),
) -> list[inspect.Parameter]:
    """Make a parameter of a command for each field of a dataclass.

    Parameters
    ----------
    config_class : type
        Help, panel, names and more are what its fields were declared with by `option`; a field
        without a panel stands under the class's ``PANEL``.
    names : container of str, optional
        Of the fields that become options; by default all that were declared with `option`.
    defaults : mapping
        What the help shows as the defaults of some fields.
    arguments : container of str
        Of the fields that stand in a place of their own, without a name before them.
    """
    hints, helps = typing.get_type_hints(config_class), help_of(config_class)
    panel = getattr(config_class, "PANEL", None)
    return [
        _parameter(
            field,
            hints[field.name],
            helps.get(field.name, ""),
            defaults,
            field.name in arguments,
            panel,
        )
        for field in dataclasses.fields(config_class)
        if "option" in field.metadata and (names is None or field.name in names)
    ]


def with_options(
    *config_classes: type,
    others: Mapping[str, tuple[Sequence[type], Mapping[str, Any]]] = types.MappingProxyType({}),
    without: Container[str] = (),
    **choices: Any,
) -> Callable[[Callable], Callable]:
    """Give a command an option for each field of dataclasses; a decorator.

    The command takes those that the user gave as ``**settings``: all other defaults are the
    dataclasses' own. A field that several have is one option, that of the first.

    Parameters
    ----------
    *config_classes : type
    others : mapping of str to (sequence of type, mapping)
        Dataclasses of another use of the command, and defaults of some fields, by the words that
        stand before what is different then in an option that both have.
    without : container of str
        Fields that are no options.
    **choices
        As of `options_of`.
    """
    made: dict[str, inspect.Parameter] = {}
    for config_class in config_classes:
        for parameter in options_of(config_class, **choices):
            made.setdefault(parameter.name, parameter)
    for words, (other_classes, defaults) in others.items():
        there: dict[str, inspect.Parameter] = {}
        for config_class in other_classes:
            for parameter in options_of(config_class, **{**choices, "defaults": defaults}):
                there.setdefault(parameter.name, parameter)
        for name, parameter in there.items():
            if name in made:
                _add_difference(made[name], parameter, words)
            else:
                made[name] = parameter
    made = {name: parameter for name, parameter in made.items() if name not in without}

    def decorate(command: Callable) -> Callable:
        own = inspect.signature(command, eval_str=True).parameters.values()
        kept = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.kind is not p.VAR_KEYWORD]
        context = inspect.Parameter(
            "context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )

        @functools.wraps(command)
        def wrapped(context: typer.Context, **values: Any) -> Any:
            given = {
                name: value
                for name, value in values.items()
                if name not in made or _is_given(context, name)
            }
            return command(**given)

        wrapped.__signature__ = inspect.Signature([context, *kept, *made.values()])  # type: ignore[attr-defined]
        return wrapped

    return decorate


def _parameter(
    field: dataclasses.Field,
    hint: Any,
    help: str,
    defaults: Mapping[str, Any],
    is_argument: bool,
    panel: str | None,
) -> inspect.Parameter:
    declared = option_of(field)
    default: Any = defaults.get(field.name, field.default)
    shown: str | bool = declared.shown_default or True
    if isinstance(default, FromOthers):
        default, shown = None, default.shown
    elif default is dataclasses.MISSING or isinstance(default, tuple):
        default = None
    if typing.get_origin(hint) is tuple:
        hint = list[typing.get_args(hint)[0]]  # type: ignore[misc]
    names = declared.names
    if hint is bool and default is False:
        names = names or ("--" + field.name.replace("_", "-"),)  # and not --no-... beside it
    said: dict[str, Any] = {
        "help": escape(_help(help, declared.choices)), "min": declared.minimum,
        "metavar": declared.metavar, "show_default": shown,
    }  # fmt: skip
    info = (
        typer.Argument(**said)
        if is_argument
        else typer.Option(*names, rich_help_panel=declared.panel or panel, **said)
    )
    annotation = Annotated[hint if default is not None else hint | None, info]  # type: ignore[valid-type]
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _add_difference(parameter: inspect.Parameter, other: inspect.Parameter, words: str) -> None:
    """Add to an option's help what its help and default are in another use."""
    ours, theirs = (typing.get_args(each.annotation)[1] for each in (parameter, other))
    said = [theirs.help] if theirs.help != ours.help else []
    defaults = [
        info.show_default if isinstance(info.show_default, str) else str(each.default)
        for info, each in ((ours, parameter), (theirs, other))
    ]
    if defaults[0] != defaults[1]:
        said.append(f"{'B' if said else 'b'}y default {defaults[1]}.")
    if said:
        ours.help = f"{ours.help} {words}: {' '.join(said)}"


def _help(help: str, choices: Iterable[str]) -> str:
    """Return the help, with the choices behind it that it does not name itself."""
    words = re.findall(r"[\w-]+", help)
    if all(choice in words for choice in choices):
        return help
    return f"{help} One of {', '.join(choices)}."


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Let what the block refuses be an error in how the command was asked."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def numbers_of(text: str, rule: str) -> list[int]:
    """Read numbers with commas between them; the rule says which, if there is something else."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{rule}, got {text}.") from None


def refuse_settings(settings: Iterable[str], **others: Any) -> None:
    """Refuse settings beside ``--resume``: those that were given, and others that are not None."""
    given = [*settings, *(name for name, value in others.items() if value is not None)]
    if given:
        raise typer.BadParameter(
            f"a resumed run keeps its settings, so leave out: {', '.join(given)}."
        )

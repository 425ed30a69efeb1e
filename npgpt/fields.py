"""Dataclasses of settings, each declared once: its help is what the docstring says of it."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import numbers
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from npgpt.html_table import html_table

Config = TypeVar("Config")
MOST = 8  # entries of a list that a repr shows

LARGEST = 2**63 - 1  # as an int64 counts
LARGEST_REAL = 3.4e38  # infinity to a float32 begins a little above

# the section of a numpydoc docstring, and an entry of it: names, and the indented text below
PARAMETERS = re.compile(r"^Parameters\n-+\n((?:[^\n]+\n?)*)", re.M)
ENTRY = re.compile(r"^(\w[\w, ]*) : [^\n]*\n((?:    [^\n]*\n?)*)", re.M)


@dataclasses.dataclass(frozen=True)
class Option:
    """What a command line needs to know of a setting beside its help, see `help_of`.

    Attributes
    ----------
    panel : str, optional
        The heading that it stands under.
    names : tuple of str
        Of the option where they are not the field's, ``("--n-layers", "--layers")`` for one.
    minimum : float, optional
        The smallest value.
    choices : collection of str
        The only values; of a table those that it has when `option_of` is asked.
    shown_default : str, optional
        What stands for a default of None, such as "4 d_model".
    metavar : str, optional
    """

    panel: str | None = None
    names: tuple[str, ...] = ()
    minimum: float | None = None
    choices: Collection[str] = ()
    shown_default: str | None = None
    metavar: str | None = None


def option(panel: str | None = None, *, default: Any = dataclasses.MISSING, **rest: Any) -> Any:
    """Declare a dataclass field that a command may offer; other arguments as of `Option`."""
    return dataclasses.field(default=default, metadata={"option": Option(panel, **rest)})


def option_of(field: dataclasses.Field) -> Option:
    """Return what a field was declared with; an empty `Option` if with nothing."""
    declared = field.metadata.get("option") or Option()
    return dataclasses.replace(declared, choices=tuple(declared.choices))


def names_of(config_class: type) -> list[str]:
    """Return the names of a dataclass's fields."""
    return [field.name for field in dataclasses.fields(config_class)]


@dataclasses.dataclass(frozen=True)
class FromOthers:
    """A default that the other fields decide; `fill_defaults` puts the value in its place.

    Attributes
    ----------
    value : function
        From the config to the value.
    shown : str
        What it is in words, such as "lr / 10".
    """

    value: Callable[[Any], Any]
    shown: str


def fill_defaults(config: Any) -> None:
    """Put values in the place of defaults that others decide; for ``__post_init__``."""
    for field in dataclasses.fields(config):
        default = field.default
        if isinstance(default, FromOthers) and getattr(config, field.name) in (None, default):
            object.__setattr__(config, field.name, default.value(config))  # it may be frozen


def check_options(config: Any, what: str = "") -> None:
    """Hold values against the types, choices and minima that their fields were declared with.

    Parameters
    ----------
    config : dataclass
    what : str
        What the message begins with.

    Raises
    ------
    ValueError
        If one is not among the choices, below the minimum, not an integer where one must be, beyond
        what NumPy counts, or not finite.
    """
    prefix = f"{what}: " if what else ""
    for field in dataclasses.fields(config):
        value, declared = getattr(config, field.name), option_of(field)
        optional = field.default is None or isinstance(field.default, FromOthers)
        if isinstance(value, FromOthers) or (value is None and optional):
            continue
        if declared.choices and value not in declared.choices:
            raise ValueError(
                f"{prefix}{field.name} must be one of {', '.join(declared.choices)}, got {value!r}."
            )
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"{prefix}{field.name} must be at most {LARGEST}, got {value}.")
        is_real = isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral)
        if is_real and not abs(value) <= LARGEST_REAL:
            raise ValueError(f"{prefix}{field.name} must be a finite number, got {value}.")
        least = declared.minimum
        if least is None:
            continue
        if str(field.type).startswith("int"):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
                raise ValueError(f"{prefix}{field.name} must be {kind}, got {value!r}.")
        elif not value >= least:
            raise ValueError(f"{prefix}{field.name} must be at least {least}, got {value}.")


def help_of(config_class: type) -> dict[str, str]:
    """Return what the docstrings of a dataclass and of its bases say of each field."""
    found = {}
    for base in reversed(config_class.__mro__):
        for names, text in ENTRY.findall(_parameters(base) + "\n"):
            plain = " ".join(text.replace("`", "").split())
            found.update(dict.fromkeys(names.split(", "), plain))
    return found


def documented(config_class: type[Config]) -> type[Config]:
    """Add what the bases' docstrings say of their fields to that of a dataclass; a decorator."""
    bases = "".join(_parameters(base) for base in reversed(config_class.__mro__[1:]))
    own = _parameters(config_class)
    doc = inspect.cleandoc(config_class.__doc__ or "")
    config_class.__doc__ = doc.replace(own, bases + own)
    return config_class


def _parameters(config_class: type) -> str:
    section = PARAMETERS.search(inspect.cleandoc(config_class.__doc__ or ""))
    return section[1].rstrip("\n") + "\n" if section else ""


def did_you_mean(name: str, names: Iterable[str], most: int = 8) -> str:
    """End an error's sentence with the names nearest to one that does not exist, or with all.

    Parameters
    ----------
    name : str
    names : iterable of str
    most : int
        How many are listed where none is near; 0 lists none.

    Examples
    --------
    >>> did_you_mean("wieghts", ["scores", "weights"])
    "; did you mean 'weights'?"
    >>> did_you_mean("x", ["scores", "weights"])
    '; there is scores, weights.'
    """
    names = list(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.7)
    if near:
        # only those that are as near as the nearest
        best = difflib.SequenceMatcher(None, near[0], name).ratio()
        near = [n for n in near if difflib.SequenceMatcher(None, n, name).ratio() > best - 0.02]
        return f"; did you mean {' or '.join(map(repr, near))}?"
    if not names or not most:
        return "."
    return f"; there is {', '.join(names[:most])}{', ...' if len(names) > most else ''}."


def short(value: Any) -> str:
    """Write a value for a ``repr``: of an array its shape and dtype, of a long text its beginning.

    Examples
    --------
    >>> import numpy as np
    >>> short(np.zeros((2, 3))), short({"a": np.zeros(4, np.float32)}), short("text")
    ('array of (2, 3), float64', "{'a': array of (4,), float32}", "'text'")
    """
    if hasattr(value, "dtype") and getattr(value, "ndim", None):
        return f"array of {value.shape}, {value.dtype}"
    if isinstance(value, Mapping):
        items = [f"{key!r}: {short(item)}" for key, item in list(value.items())[:MOST]]
        return f"{{{', '.join(items)}{', ...' if len(value) > MOST else ''}}}"
    if type(value) in (list, tuple):
        items = [*map(short, value[:MOST]), *(["..."] if len(value) > MOST else [])]
        return f"[{', '.join(items)}]" if isinstance(value, list) else f"({', '.join(items)})"
    written = repr(value)
    return written if len(written) <= 200 else f"{written[:200]}..."


class ShortRepr:
    """Base of dataclasses that hold arrays, declared with ``repr=False``."""

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = [f"{field.name}={short(getattr(self, field.name))}" for field in fields]
        return f"{type(self).__name__}({', '.join(shown)})"


class Settings:
    """Base of dataclasses that are written to JSON and read again."""

    def __new__(cls, *args: Any, **fields: Any) -> Any:
        """Refuse an unknown keyword with the name that is nearest to it."""
        known = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
        for name in fields:
            if name not in known:
                raise TypeError(
                    f"{cls.__name__}: no field is named {name!r}{did_you_mean(name, known)}"
                )
        return super().__new__(cls)

    def _repr_html_(self) -> str:
        helps = help_of(type(self))
        rows = [(name, repr(value), helps.get(name, "")) for name, value in self.to_dict().items()]
        return html_table(type(self).__name__, ("field", "value", "what it is"), rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls: type[Config], fields: Mapping[str, Any]) -> Config:
        """Make one from the fields of `to_dict`, those of earlier versions among them.

        Raises
        ------
        ValueError
            If a field is unknown or missing, or a value is refused.
        """
        return from_fields(cls, fields)


def from_fields(config_class: type[Config], fields: Mapping[str, Any]) -> Config:
    """Make a dataclass from named fields; what has a default may be left out.

    Raises
    ------
    ValueError
        If a field is unknown or missing, with its name; or what the class itself refuses.
    """
    what = config_class.__name__
    known = dataclasses.fields(config_class)  # type: ignore[arg-type]
    names = [field.name for field in known]
    unknown = [name for name in fields if name not in names]
    if unknown:
        raise ValueError(
            f"{what}: no field is named {', '.join(map(repr, unknown))}"
            f"{did_you_mean(unknown[0], names, most=0)}"
        )
    missing = [
        field.name
        for field in known
        if field.name not in fields
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{what}: no value is given for {', '.join(missing)}.")
    return config_class(**fields)

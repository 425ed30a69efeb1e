"""What is to be known of a kind of model, and what is done alike with each."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from npgpt.hub.weights import Shapes, Weight, WeightSource

Fields = Mapping[str, Any]
TABLE, HEAD = "token_embedding.weight", "head.weight"  # ours, one matrix where they are tied


class Architecture(Protocol):
    """A kind of model as others write it: the fields of its config, the names of its arrays.

    Attributes
    ----------
    name : str
        For people.
    model_type : str
        In ``config.json``.
    kind : str
        Of the model that npgpt makes of it.
    passed_over : pattern
        Of the names of arrays that a file may hold though the model does without them.
    of_arrays : frozenset of str
        Our fields that the arrays of a file say, whatever its config does; see `with_arrays`.
    """

    name: str
    model_type: str
    kind: str
    passed_over: re.Pattern[str]
    of_arrays: frozenset[str]

    def fields(self, content: Fields, where: str) -> dict[str, Any]:
        """Translate the content of a config to fields of ours.

        Raises
        ------
        ValueError
            If a field is missing or has no number, or npgpt does not have what it asks for; the
            message names the file, ``where``.
        """

    def content(self, fields: Fields) -> dict[str, Any]:
        """Translate fields of ours to the content of ``config.json``.

        A choice that the architecture does not have is not said: `fields` gives another one back.
        """

    def with_arrays(self, fields: Fields, source: WeightSource, where: str, dtype: Any) -> Fields:
        """Return the fields as the arrays of a file have them, where these say more than a config.

        Parameters
        ----------
        fields, source, where, dtype
            As for `with_head_of_file`.
        """

    def weights(self, fields: Fields) -> Iterable[Weight]:
        """List the arrays as they are written."""

    def weights_in(self, fields: Fields, shapes: Shapes, where: str) -> Iterable[Weight]:
        """List the arrays as a file spells and lays them, whoever has written it.

        Raises
        ------
        ValueError
            If it is not a file of such a model.
        """


def match_weights(
    architecture: Architecture, fields: Fields, shapes: Shapes, where: str
) -> dict[str, Weight]:
    """Find every parameter of a model among the arrays of a file.

    Parameters
    ----------
    architecture : Architecture
    fields : mapping
        Of the config, ours.
    shapes : mapping of str to tuple
        Of the arrays in the file.
    where : str
        The file or folder, for errors.

    Returns
    -------
    dict of str to Weight
        By our names.

    Raises
    ------
    ValueError
        If an array is missing or unknown, or its shape does not fit the config.
    """
    rest, matched = set(shapes), {}
    for weight in architecture.weights_in(fields, shapes, where):
        for name, ours in zip(weight.theirs, weight.shapes, strict=True):
            if name not in rest:
                raise ValueError(f"{where} has no array {name}, which the model's config asks for.")
            if shapes[name] != (expected := weight.layout.shape(ours)):
                raise ValueError(
                    f"{where}: {name} has shape {shapes[name]}, but the model's config asks for "
                    f"{expected}."
                )
            rest.remove(name)
        matched[weight.ours] = weight
    rest = {name for name in rest if not architecture.passed_over.fullmatch(name)}
    if rest:
        unknown = ", ".join(sorted(rest)[:3]) + (", ..." if len(rest) > 3 else "")
        raise ValueError(
            f"{where} has {len(rest)} arrays that the model of its config does not have: {unknown}."
        )
    return matched


def with_head_of_file(
    architecture: Architecture,
    fields: Fields,
    source: WeightSource,
    where: str,
    dtype: Any,
    head: str = HEAD,
) -> Fields:
    """Untie the head if a file holds one that is not the token embedding, and warn.

    Parameters
    ----------
    architecture, fields, where
        As for `match_weights`.
    source : WeightSource
    dtype : dtype
        That the arrays will have here: they are equal if they are in it.
    head : str
        Our name of the head's matrix.
    """
    if not fields.get("tie_embeddings"):
        return fields
    untied = {**fields, "tie_embeddings": False}
    names = {w.ours: w.theirs for w in architecture.weights_in(untied, source.shapes, where)}
    table, own = names[TABLE], names.get(head, ())
    if not all(name in source.shapes for name in (*table, *own)) or not own:
        return fields
    if _are_equal(source, table[0], own[0], dtype):
        return fields
    warnings.warn(
        f"{where}: {own[0]} differs from {table[0]}, though the config does not say "
        '"tie_word_embeddings": false; the head of the file is used, untied.',
        stacklevel=4,
    )
    return untied


def _are_equal(source: WeightSource, one: str, other: str, dtype: Any) -> bool:
    if source.shapes[one] != source.shapes[other]:
        return False
    arrays = [np.empty(source.shapes[name], dtype) for name in (one, other)]
    for name, array in zip((one, other), arrays, strict=True):
        source.read_into(name, array)
    return np.array_equal(arrays[0], arrays[1], equal_nan=True)


def export_arrays(
    weights: Iterable[Weight], arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield arrays under the names and in the layout of a file.

    Parameters
    ----------
    weights : iterable of Weight
    arrays : mapping of str to ndarray
        By our names. A bias that the model does without is written as zeros: the model there always
        has it.

    Yields
    ------
    name : str
    ndarray
        A view.
    """
    dtype = next(iter(arrays.values())).dtype
    for weight in weights:
        if weight.ours.endswith((".bias", ".beta")) and weight.ours not in arrays:
            yield from weight.parts(np.zeros(weight.shape, dtype))
        else:
            yield from weight.parts(arrays[weight.ours])


def by_plain_name(plain: Callable[[str], str], shapes: Shapes, where: str) -> dict[str, str]:
    """Return the names of a file's arrays by their plain names.

    Raises
    ------
    ValueError
        If two have the same.
    """
    found: dict[str, str] = {}
    for name in shapes:
        other = found.setdefault(plain(name), name)
        if other != name:
            raise ValueError(f"{where} has both {other} and {name}; one model has one of them.")
    return found


def check_num_blocks(
    fields: Fields,
    numbers: Iterable[re.Match[str] | None],
    shapes: Shapes,
    where: str,
    example: str,
) -> None:
    """Raise ValueError if a file has no blocks, or another number of them than the config asks for.

    Parameters
    ----------
    fields, shapes, where
        As for `match_weights`.
    numbers : iterable of match or None
        Of the names of arrays; the first group is the number of the block.
    example : str
        Of what, and how its arrays are named, for the error.
    """
    blocks = max((int(number[1]) + 1 for number in numbers if number), default=0)
    if not blocks:
        raise ValueError(
            f"{where} has no array that is named like one of {example}, but "
            f"{', '.join(sorted(shapes)[:3]) or 'none at all'}."
        )
    if blocks != fields["n_layers"]:
        raise ValueError(
            f"{where} has weights of {blocks} blocks, but its config asks for {fields['n_layers']}."
        )


def positive_integer(content: Fields, names: Sequence[str], where: str) -> int:
    """Read the field of a config that has the first of these names which is there."""
    for name in names:
        if name in content:
            number = content[name]
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ValueError(f"{where}: {name} must be a positive integer, got {number!r}.")
            return number
    raise ValueError(f"{where} has no {' or '.join(names)}.")


def real(content: Fields, names: Sequence[str], default: float, where: str) -> float:
    """Read a number that may be left out, as `positive_integer` does."""
    for name in names:
        if name in content:
            number = content[name]
            if not isinstance(number, (int, float)) or isinstance(number, bool):
                raise ValueError(f"{where}: {name} must be a number, got {number!r}.")
            return float(number)
    return default


def activation_of(
    content: Fields, key: str, default: str, known: Mapping[str, str], where: str, whose: str
) -> str:
    """Translate the activation that a config names; ``known`` has npgpt's names by theirs."""
    name = content.get(key, default)
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f"{where}: {key} {name!r} is not known; npgpt's {whose} has {', '.join(known)}."
        )
    return known[name]


def check_fixed(content: Fields, fixed: Mapping[str, Any], where: str) -> None:
    """Refuse a config that sets a field to another value than the one that npgpt computes with."""
    for name, only in fixed.items():
        if content.get(name, only) != only:
            raise ValueError(f"{where}: {name} must be {only}, got {content[name]!r}.")

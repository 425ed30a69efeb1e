"""Records in three parts: to train, to validate, to test on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from npgpt.data.docstrings import BUILT_IN
from npgpt.data.left_out import LeftOut, with_texts
from npgpt.data.records import Record, name_field, read_records
from npgpt.data.splits import TEST, TRAIN, VALIDATION
from npgpt.finetuning.config import FineTuningConfig

Keep = Callable[[Sequence[Record]], list[Record]]  # from records to those that can be used
PARTS = (TRAIN, VALIDATION, TEST)
FRACTIONS = (0.1, 0.2)  # of validation and test, where the records do not say


def is_built_in(config: FineTuningConfig) -> bool:
    """Say whether a config asks for the records that come with Python, and not for a file."""
    return config.data == BUILT_IN and not Path(config.data).exists()


def open_records(
    config: FineTuningConfig, built_in: Callable[[], list[Record]], needed: Sequence[str]
) -> list[Record]:
    """Read the records that a config asks for."""
    return built_in() if is_built_in(config) else read_records(config.data, needed)


def split_records(
    config: FineTuningConfig,
    records: Sequence[Record],
    needed: Sequence[str],
    left_out: LeftOut,
    label: str | None = None,
    split_column: str | None = None,
    keep: Keep = list,
) -> dict[str, list[Record]]:
    """Put each record into a part, but leave out those in which a needed text is empty.

    The split column says which, if any record has it. Otherwise 10 per cent are drawn to validate
    and 20 per cent to test on (unless the config names a file for that), by the config's seed.

    Parameters
    ----------
    config : FineTuningConfig
    records : sequence of Record
    needed : sequence of str
        Fields that must be texts.
    left_out : LeftOut
        Gets what is left out.
    label : str, optional
        A field, each value of which is divided by itself.
    split_column : str, optional
        Instead of the config's.
    keep : function
        Leaves out what the task cannot use.

    Raises
    ------
    ValueError
        If a field is no text, a part unknown, or one has no record; with the row.
    """
    column = split_column or config.split_column
    records = keep(with_texts(records, needed, left_out))
    left_out.refuse_nothing_left(config.data, records)
    tests: list[Record] = []
    if config.test_data:
        tests = keep(with_texts(read_records(config.test_data, needed), needed, left_out))
        left_out.refuse_nothing_left(config.test_data, tests)
    parts: dict[str, list[Record]] = {part: [] for part in PARTS}
    if any(column in record.fields for record in records):
        for record in records:
            part = name_field(record, column)
            if part not in parts:
                raise ValueError(
                    f"{record.where}: {column!r} must be train, validation or test, got {part!r}."
                )
            parts[part].append(record)
    else:
        groups: dict[str, list[Record]] = {}
        for record in records:
            groups.setdefault(name_field(record, label) if label else "", []).append(record)
        rng = np.random.default_rng(config.seed)
        for name, members in sorted(groups.items()):
            _divide(name, members, rng, parts, with_test=not tests)
    parts[TEST] += tests
    for part, found in parts.items():
        if not found:
            raise ValueError(f"{config.data}: there is no record for the part {part!r}.")
    return parts


def _divide(name, members, rng, parts, with_test) -> None:
    """Put the records of a group into parts at random, at least one into each."""
    wanted = 3 if with_test else 2
    if len(members) < wanted:
        group = f"the label {name!r} occurs" if name else "there are"
        raise ValueError(
            f"{members[0].where}: {group} {len(members)} times; at least {wanted} are needed to "
            "train and to test on."
        )
    validation, test = (max(1, round(share * len(members))) for share in FRACTIONS)
    test = test if with_test else 0
    order = rng.permutation(len(members))
    for part, places in (
        (VALIDATION, order[:validation]),
        (TEST, order[validation : validation + test]),
        (TRAIN, order[validation + test :]),
    ):
        parts[part] += [members[i] for i in places]

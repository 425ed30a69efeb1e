"""What a gradient check found."""

from __future__ import annotations

import dataclasses

from npgpt.html_table import html_list, html_table
from npgpt.text_table import text_table


class GradcheckError(AssertionError):
    """A gradient that backward computed is not the derivative of forward."""


@dataclasses.dataclass(frozen=True)
class ArrayCheck:
    """The largest disagreement found in the gradient of one array.

    Attributes
    ----------
    name : str
        ``input 0``, or a parameter's dotted name.
    shape : tuple of int
    compared : int
        Number of derivatives compared: coordinates, and random directions.
    error : float
        Largest relative error: the difference divided by the largest gradient of the array.
    where : str
        Index of that coordinate, or the direction.
    analytic, numeric : float
        What backward gave there, and what forward's derivative is.
    """

    name: str
    shape: tuple[int, ...]
    compared: int
    error: float
    where: str
    analytic: float
    numeric: float


@dataclasses.dataclass(frozen=True)
class GradcheckReport:
    """All arrays of one check; ``print(report)`` shows a table.

    Attributes
    ----------
    what, method : str
    tolerance : float
    arrays : list of ArrayCheck
    faults : list of str
        Promises of the contract that were broken, such as "forward changes input 0 in place".
    notes : list of str
        What the check could not see, such as frozen parameters.
    """

    what: str
    method: str
    tolerance: float
    arrays: list[ArrayCheck]
    faults: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def max_error(self) -> float:
        """The largest relative error of all arrays."""
        return max((check.error for check in self.arrays), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether every array is within the tolerance, and no promise broken."""
        return not self.faults and not self.failures

    @property
    def failures(self) -> list[ArrayCheck]:
        """The arrays beyond the tolerance."""
        return [check for check in self.arrays if not check.error <= self.tolerance]

    def raise_if_failed(self) -> None:
        """Raise `GradcheckError`, naming arrays and broken promises, unless the check passed."""
        if not self.passed:
            names = ", ".join(check.name for check in self.failures)
            wrong = [f"the gradient of {names} is wrong"] if names else []
            raise GradcheckError(f"{'; '.join(wrong + self.faults)}.\n{self}")

    @property
    def title(self) -> str:
        """What was checked, how, and with what result."""
        verdict = "passed" if self.passed else "FAILED"
        return (
            f"gradcheck of {self.what} by {self.method} differences: {verdict} "
            f"(tolerance {self.tolerance:.0e})"
        )

    def _repr_html_(self) -> str:
        header = ["array", "shape", "compared", "error", "at", "backward", "forward's derivative"]
        rows = [
            [
                check.name,
                " × ".join(map(str, check.shape)),
                check.compared,
                f"{check.error:.1e}{'' if check.error <= self.tolerance else ' FAILED'}",
                check.where,
                f"{check.analytic:.9g}",
                f"{check.numeric:.9g}",
            ]
            for check in self.arrays
        ]
        table = html_table(self.title, header, rows, numbers=[2, 3, 5, 6])
        return table + html_list(self._sentences())

    def _sentences(self) -> list[str]:
        return [f"FAILED: {fault}" for fault in self.faults] + [
            f"not seen: {note}" for note in self.notes
        ]

    def __str__(self) -> str:
        rows = [
            (
                f"{'  ' if check.error <= self.tolerance else '! '}{check.name}",
                f"error {check.error:.1e}",
                f"at {check.where}: backward {check.analytic:.9g}, forward's derivative "
                f"{check.numeric:.9g}",
            )
            for check in self.arrays
        ]
        lines = text_table((), rows).splitlines() if rows else []
        marked = [f"! {fault}" for fault in self.faults]
        seen = [f"  not seen: {note}" for note in self.notes]
        return "\n".join([self.title, *lines, *marked, *seen])

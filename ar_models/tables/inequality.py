"""Inequalities between two columns of a row, or between a column and a constant.

A network learns `start <= end` only approximately. The density p of a model is
therefore tilted so that rows violate an inequality as often as training rows did:

    p(x) w^V(x) / Z,

where V(x) is 1 if the row violates it, else 0, w its weight, at most 1, and Z the mean
of w^V over rows that p draws. Of all densities with this rate of violations it has the
least Kullback-Leibler divergence from p. Several inequalities multiply their weights.

Reference:
    Csiszár, I-divergence geometry of probability distributions and minimization
    problems, 1975.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.formulas.choices import Operator
from ar_models.tables.formulas.numbers import NUMERIC, numbers
from ar_models.tables.trained_cells import as_trained

OPERATORS: dict[Operator, Callable[..., Any]] = {
    "<=": np.less_equal,
    "<": np.less,
    ">=": np.greater_equal,
    ">": np.greater,
}
"""Comparisons by their sign."""

TOLERANCE = 2e-15
"""Relative difference up to which numbers are equal, a few rounding errors."""


@dataclass(frozen=True)
class Inequality:
    """An inequality that nearly all training rows satisfy.

    It is satisfied where a side is missing, NaN or infinite.

    Attributes:
        column: Name of the column on the left.
        operator: The comparison.
        other: Name of the column on the right; None: it is a constant.
        constant: The constant, as `formulas.numbers` converts cells to numbers.
        text: The constant as the user wrote it.
        rows: Number of training rows in which both sides are known.
        violations: Number of those that violate it.
        log_weight: Logarithm of the weight of a violation, at most 0.
        log_mass: Logarithm of its share of 1 / Z, which every row has.
    """

    column: str
    operator: Operator
    other: str | None = None
    constant: float = 0.0
    text: str = ""
    rows: int = 0
    violations: int = 0
    log_weight: float = 0.0
    log_mass: float = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the compared columns."""
        return (self.column,) if self.other is None else (self.column, self.other)

    @property
    def right(self) -> str:
        """The right-hand side as text."""
        return self.text if self.other is None else self.other

    @property
    def rate(self) -> float:
        """Share of the training rows with both sides that satisfy it."""
        return 1 - self.violations / max(self.rows, 1)

    @property
    def expected_rate(self) -> float:
        """Rate of violations that is expected of new rows.

        With odds of 1 to 1 that the inequality always holds, and else with a rate that
        is uniform a priori, it is 1 / (n + 2)^2 after n rows without a violation.
        """
        if not self.violations:
            return (self.rows + 2.0) ** -2
        return (self.violations + 1) / (self.rows + 2)

    def describe(self) -> str:
        """Return the inequality as text, such as `start <= end`."""
        return f"{self.column} {self.operator} {self.right}"

    def known(self, cells: Mapping[str, pa.Array]) -> np.ndarray:
        """Return where both sides are finite numbers, (n,) bool."""
        found: np.ndarray = ~np.isnan(self._sides(cells)).any(axis=0)
        return found

    def violated(self, cells: Mapping[str, pa.Array]) -> np.ndarray:
        """Return where both sides are known and it does not hold, (n,) bool.

        Args:
            cells: Cells of its columns, of their types in training.
        """
        left, right = self._sides(cells)
        with np.errstate(invalid="ignore"):
            size = np.maximum(np.abs(left), np.abs(right))
            equal = np.abs(left - right) <= TOLERANCE * size
            holds = OPERATORS[self.operator](left, right) & ~equal
        if self.operator in ("<=", ">="):
            holds |= equal
        found: np.ndarray = ~holds & ~np.isnan(left) & ~np.isnan(right)
        return found

    def _sides(self, cells: Mapping[str, pa.Array]) -> np.ndarray:
        """Return both sides as numbers, (2, n)."""
        left = numbers(cells[self.column])
        if self.other is None:
            return np.stack([left, np.full(len(left), self.constant)])
        return np.stack([left, numbers(cells[self.other])])

    def charged(self, names: Sequence[str]) -> int:
        """Return the index of the column that a violation counts for, the later one.

        Args:
            names: Names of all columns of the table.
        """
        return max(map(names.index, self.columns))

    def without_weight(self) -> "Inequality":
        """Return the inequality as it is before a model is trained."""
        return replace(self, log_weight=0.0, log_mass=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict of the arguments of the class."""
        return asdict(self)


def comparable_kind(type: pa.DataType) -> str | None:
    """Return the kind of types that a type may be compared with; None: with none."""
    family = arrow.family(type)
    if family not in NUMERIC or family == "bool":
        return None
    if family in arrow.NUMBERS:
        return "number"
    if family == "timestamp":
        return "timestamp" if arrow.plain(type).tz is None else "instant"
    return family


def violations(
    inequalities: Sequence[Inequality], table: pa.Table, schema: pa.Schema
) -> np.ndarray:
    """Return which inequalities the rows of a table violate, (n, inequalities) bool.

    Args:
        inequalities: The inequalities.
        table: The rows, with their columns.
        schema: Schema of the training table.
    """
    cells = compared_cells(inequalities, table, schema)
    found = np.zeros((table.num_rows, len(inequalities)), bool)
    for k, inequality in enumerate(inequalities):
        found[:, k] = inequality.violated(cells)
    return found


def compared_cells(
    inequalities: Sequence[Inequality], table: pa.Table, schema: pa.Schema
) -> dict[str, pa.Array]:
    """Return the cells of all compared columns, of their types in training."""
    names = dict.fromkeys(name for each in inequalities for name in each.columns)
    return {
        name: as_trained(table.column(name), schema.field(name).type)[0]
        for name in names
    }


def penalties(
    inequalities: Sequence[Inequality],
    table: pa.Table,
    schema: pa.Schema,
    names: Sequence[str],
) -> np.ndarray | None:
    """Return the nats that each cell loses by violated inequalities.

    Args:
        inequalities: The inequalities, with their weights.
        table: The n rows, with their columns.
        schema: Schema of the training table.
        names: Names of the columns of the result.

    Returns:
        (n, columns), or None before a model is trained.
    """
    if not any(each.log_weight for each in inequalities):
        return None
    # Column after column in memory, as log-determinants are.
    found = np.zeros((len(names), table.num_rows)).T
    violated = violations(inequalities, table, schema)
    for k, each in enumerate(inequalities):
        found[:, each.charged(names)] -= each.log_weight * violated[:, k]
    return found


def log_masses(inequalities: Sequence[Inequality], names: Sequence[str]) -> np.ndarray:
    """Return the share of log(1 / Z) of each column, (columns,), nats."""
    found = np.zeros(len(names))
    for each in inequalities:
        found[each.charged(names)] += each.log_mass
    return found


def log_tilts(
    inequalities: Sequence[Inequality],
    table: pa.Table,
    schema: pa.Schema,
    given: pa.Table | None = None,
) -> np.ndarray:
    """Return the sum of the log-weights of what each row violates, (n,), at most 0.

    Args:
        inequalities: The inequalities, with their weights.
        table: The n rows.
        schema: Schema of the training table.
        given: Known cells of the first rows; an inequality between known cells does
            not count, as all rows with these cells violate it.
    """
    total = np.zeros(table.num_rows)
    weighted = [each for each in inequalities if each.log_weight]
    if not weighted:
        return total
    violated = violations(weighted, table, schema)
    for k, each in enumerate(weighted):
        if given is not None and set(each.columns) <= set(given.column_names):
            known = [np.asarray(given.column(name).is_valid()) for name in each.columns]
            violated[: given.num_rows, k] &= ~np.all(known, axis=0)
        total += each.log_weight * violated[:, k]
    return total

"""The interface of a formula, and the comparison of its values with cells."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow

Cells: TypeAlias = Mapping[str, pa.Array]
"""Cells of the n rows by column, of the types in the training rows."""

TOLERANCE = 1e-9
"""Relative difference up to which float64 values are equal."""


class Formula:
    """A function that computes the cells of one column from other cells of the row.

    A subclass is a frozen dataclass of JSON-able fields.

    Attributes:
        kind: Name of the class of formulas, as in a configuration.
        decimals: Decimal places that values are rounded to; None: not rounded.
    """

    kind: ClassVar[str]
    decimals: int | None = None

    @property
    def null_is_value(self) -> bool:
        """Return whether a null result means a null cell, not an undefined formula."""
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it computes with, without repetitions."""
        raise NotImplementedError

    @property
    def undefined_reason(self) -> str:
        """The reason why the formula is undefined in a row, for explanations."""
        return "undefined in this row"

    @property
    def invertible_columns(self) -> tuple[str, ...]:
        """Names of the columns for which `solve` computes the cells."""
        return ()

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        """Compute the cells of the derived column.

        Args:
            cells: Cells of at least the columns of the formula.
            type: Arrow type of the derived column in the training rows.

        Returns:
            An array (n,) of the plain type, without dictionary or run ends; null where
            the formula is undefined or, if `null_is_value`, the cell is null.
        """
        raise NotImplementedError

    def undefined(self, cells: Cells, values: pa.Array) -> np.ndarray:
        """Return where the formula is undefined, rather than null, (n,) bool.

        Args:
            cells: Cells of at least the columns of the formula.
            values: What `evaluate` computed from them.
        """
        if self.null_is_value:
            return np.zeros(len(values), bool)
        return np.asarray(pc.is_null(values))

    def solve(
        self, column: str, type: pa.DataType, cells: Cells, derived: pa.Array
    ) -> pa.Array:
        """Compute the cells of one column of the formula from the derived ones.

        Args:
            column: One of `invertible_columns`.
            type: Arrow type of that column in the training rows.
            cells: Cells of the other columns of the formula.
            derived: Cells of the derived column.

        Returns:
            An array (n,) of the plain type; null where there is no solution.
        """
        raise NotImplementedError(f"{self.kind} has no inverse")

    def describe(self) -> str:
        """Return the right-hand side of the equation as text for users."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict for `registry.formula_from_dict`."""
        assert not isinstance(self, type)
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]  # subclasses are dataclasses


@dataclass(frozen=True)
class NullableFormula(Formula):
    """A formula that is null where it cannot be computed, as in SQL.

    Attributes:
        null_is_value: Whether the derived cell is null there, too; else the formula is
            undefined, and the derived cell may have any value.
    """

    null_is_value: bool = field(default=False, kw_only=True)


def matches(formula: Formula, values: pa.Array, cells: pa.Array) -> np.ndarray:
    """Return which cells a formula gives, (n,) bool.

    Reals are equal up to `TOLERANCE`, or four units in the last place of their type;
    all others are equal exactly.

    Args:
        formula: The formula.
        values: What it computes, (n,).
        cells: Cells of the derived column of the same plain type, (n,).
    """
    values, cells = arrow.flat(values), arrow.flat(cells)
    both = np.asarray(pc.and_(pc.is_valid(values), pc.is_valid(cells)))
    family = arrow.family(cells.type)
    if family == "real":
        equal = _close(values, cells, formula.decimals)
    elif family in ("text", "bytes"):
        plain = arrow.plain(cells.type)
        compared = pc.equal(values.cast(plain), cells.cast(plain))
        equal = np.asarray(pc.fill_null(compared, False))
    else:
        a, b = (arrow.integers(v, cells.type) for v in (values, cells))
        equal = a.values == b.values
    found: np.ndarray = both & equal
    if formula.null_is_value:
        found |= np.asarray(pc.and_(pc.is_null(values), pc.is_null(cells)))
    return found


def _close(values: pa.Array, cells: pa.Array, decimals: int | None) -> np.ndarray:
    """Return which reals are equal up to rounding errors, NaN being equal to NaN."""
    eps = float(np.finfo(arrow.plain(cells.type).to_pandas_dtype()).eps)
    a, b = arrow.reals(values).values, arrow.reals(cells).values
    with np.errstate(invalid="ignore"):
        size = np.maximum(np.abs(a), np.abs(b))
        allowed = max(TOLERANCE, 4 * eps) * size
        if decimals is not None:
            step = 10.0**-decimals
            allowed = np.minimum(allowed + 1e-6 * step, 0.49 * step)
        near = np.abs(a - b) <= allowed
    same: np.ndarray = near | (a == b) | (np.isnan(a) & np.isnan(b))
    return same


def first_match(
    formulas: Sequence[Formula], cells: Cells, derived: pa.Array, type: pa.DataType
) -> np.ndarray:
    """Return the number of the first formula that gives each cell, (n,) int64.

    Args:
        formulas: The formulas in their order.
        cells: Cells of the columns of the formulas.
        derived: Cells of the derived column, of its plain type.
        type: Arrow type of the derived column in the training rows.

    Returns:
        1 + the index of the formula; 0 where none holds.
    """
    codes = np.zeros(len(derived), np.int64)
    for number, formula in enumerate(formulas, start=1):
        values = formula.evaluate(cells, type)
        found = matches(formula, values, derived) & ~formula.undefined(cells, values)
        codes[(codes == 0) & found] = number
    return codes

"""Columns that other columns of the row determine, always or in most rows.

The first variable of such a column, the *gate*, says which constraint holds: a formula
that gives the cell from other cells of the row. Its value then needs no variables of
its own. Code 0 says that no constraint holds, and the variables of the plain column
follow. The gate has the codes of the training rows only: where a constraint held in
all of them, there is one code and no variable follows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.columns import (
    IN_SUPPORT,
    MISSING,
    UNSEEN,
    VIOLATION,
    Coded,
    Column,
)
from ar_models.tables.formulas.formula import Cells, Formula, first_match
from ar_models.tables.list_column import ListColumn
from ar_models.tables.trained_cells import as_trained
from ar_models.variables import Variable


@dataclass(frozen=True)
class Candidate:
    """A constraint of a column: a formula that gives the cells of most rows.

    Attributes:
        formula: The formula.
        matches: Number of training rows in which it holds.
        first: Number of training rows in which it is the first formula that holds.
    """

    formula: Formula
    matches: int
    first: int


@dataclass(frozen=True)
class DerivedColumn(Column):
    """A column with constraints.

    Attributes:
        plain_column: The column as it is modelled without constraints, fitted to all
            training rows.
        candidates: The constraints in the order in which they are tried.
        exceptions: Number of training rows in which none of them holds.
    """

    plain_column: Column
    candidates: tuple[Candidate, ...]
    exceptions: int

    form: ClassVar[str] = "derived"

    @property
    def plain(self) -> Column:
        return self.plain_column

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The formulas of the constraints."""
        return tuple(candidate.formula for candidate in self.candidates)

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the columns that the formulas compute with, without repetitions."""
        names = [name for formula in self.formulas for name in formula.columns]
        return tuple(dict.fromkeys(names))

    @property
    def has_exceptions(self) -> bool:
        """Return whether the variables of the plain column follow the gate."""
        return self.exceptions > 0

    @property
    def violation_mass(self) -> float:
        """Probability of a violation, if there was none in the training rows.

        With odds of 1 to 1 that the constraints always hold, and else with a rate of
        violations that is uniform a priori, it is 1 / (n + 2)^2 after n training rows.

        Reference:
            Jeffreys, Theory of probability, 1939 (on universal laws).
        """
        return 0.0 if self.has_exceptions else (self.rows + 2.0) ** -2

    @property
    def value(self) -> int:
        return 1 + self.plain.value if self.has_exceptions else 0

    @property
    def specials_seen(self) -> tuple[str, ...]:
        return self.plain.specials_seen

    @property
    def mean_log_slopes(self) -> tuple[float, ...]:
        return (0.0, *self.plain.mean_log_slopes) if self.has_exceptions else (0.0,)

    @property
    def gate_labels(self) -> list[str]:
        """Names of the codes of the gate."""
        formulas = [formula.describe() for formula in self.formulas]
        return ["no constraint", *formulas] if self.has_exceptions else formulas

    def rate(self, number: int) -> float:
        """Return the share of training rows in which candidate `number` holds."""
        return self.candidates[number].matches / self.rows

    def numbers(self, gate: np.ndarray) -> np.ndarray:
        """Convert codes of the gate to 1 + the number of the candidate, (n,) int64.

        The result is 0 where no constraint holds and -1 where the gate is absent.
        """
        codes = np.nan_to_num(np.rint(gate), nan=-1.0).astype(np.int64)
        shifted = codes if self.has_exceptions else codes + 1
        return np.where(codes < 0, -1, shifted)

    def encode_derived(self, array: pa.Array, type: pa.DataType, cells: Cells) -> Coded:
        """Convert an array to variables.

        Args:
            array: Cells of the column, (n,).
            type: Its Arrow type in training.
            cells: Cells of its parents, of their types in training.
        """
        own, off = as_trained(array, type)
        numbers = first_match(self.formulas, cells, own, type)
        if off is not None:
            numbers[off] = 0
        x = np.full((len(own), len(self.variables)), np.nan, np.float32)
        x[:, 0] = numbers if self.has_exceptions else numbers - 1
        out_of_support = np.zeros(len(own), np.int8)
        rest = np.flatnonzero(numbers == 0)
        if not self.has_exceptions:
            if len(rest):
                at = pa.array(rest)
                some = {name: cells[name].take(at) for name in self.parents}
                reason = np.where(self._any_defined(some, type), VIOLATION, UNSEEN)
                null = np.asarray(own.take(at).is_null())
                out_of_support[rest] = np.where(null, MISSING, reason)
                x[rest] = np.nan
            return Coded(x, out_of_support)
        if not len(rest):
            log_slope = np.zeros(len(own)) if self.kind == "real" else None
            return Coded(x, out_of_support, log_slope)
        plain = self.plain.encode(arrow.flat(array).take(pa.array(rest)), type)
        x[rest, 1:] = plain.x
        out_of_support[rest] = plain.out_of_support
        x[out_of_support != IN_SUPPORT] = np.nan
        log_slope = None
        if plain.log_slope is not None:
            log_slope = np.zeros(len(own))
            log_slope[rest] = plain.log_slope
        return Coded(x, out_of_support, log_slope)

    def _any_defined(self, cells: Cells, type: pa.DataType) -> np.ndarray:
        """Return where a formula is defined, (n,) bool."""
        defined = np.zeros(len(cells[self.parents[0]]), bool)
        for formula in self.formulas:
            defined |= ~formula.undefined(cells, formula.evaluate(cells, type))
        return defined

    def decode_derived(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator, cells: Cells
    ) -> pa.Array:
        """Convert variables (n, variables) to an array of `type`.

        The result is null where the gate is absent or names a formula that is undefined
        in the row.

        Args:
            x: Variables, (n, variables).
            type: Arrow type of the column in training.
            rng: Generator that draws rare categories.
            cells: Cells of the parents, of their types in training.
        """
        plain = arrow.plain(type)
        numbers = self.numbers(x[:, 0])
        parts: list[pa.Array] = []
        places = np.full(len(x), -1)
        start = 0
        for number in np.unique(numbers[numbers >= 0]).tolist():
            rows = np.flatnonzero(numbers == number)
            at = pa.array(rows)
            if number == 0:
                found = self.plain.decode(x[rows, 1:], type, rng)
            else:
                formula = self.formulas[number - 1]
                own = {name: cells[name].take(at) for name in formula.columns}
                found = formula.evaluate(own, type)
            parts.append(arrow.flat(found).cast(plain))
            places[rows] = start + np.arange(len(rows))
            start += len(rows)
        whole = pa.concat_arrays(parts) if parts else pa.nulls(0, plain)
        taken = whole.take(pa.array(places, mask=places < 0))
        return arrow.as_type(taken, type)

    def without_value(self, cells: Cells, type: pa.DataType) -> np.ndarray:
        """Return which codes of the gate give null in each row, (n, codes) bool.

        A formula with an unknown parent is taken to give a value.

        Args:
            cells: Cells of the parents, of their types in training; null if unknown.
            type: Arrow type of the column in training.
        """
        lead = 1 if self.has_exceptions else 0
        rows = len(cells[self.parents[0]])
        without = np.zeros((rows, lead + len(self.candidates)), bool)
        for place, formula in enumerate(self.formulas, start=lead):
            null = np.asarray(formula.evaluate(cells, type).is_null())
            for name in formula.columns:
                null = null & np.asarray(cells[name].is_valid())
            without[:, place] = null
        return without

    def undefined(self, x: np.ndarray, array: pa.Array, cells: Cells) -> np.ndarray:
        """Return where the gate names a formula that is undefined in the row, (n,).

        Args:
            x: Variables of the column, (n, variables).
            array: What they were decoded to.
            cells: Cells of the parents, of their types in training.
        """
        wrong = np.zeros(len(x), bool)
        null = arrow.nulls(arrow.flat(array))
        if null is None:
            return wrong
        numbers = np.where(null, self.numbers(x[:, 0]), 0)
        for number in np.unique(numbers[numbers > 0]).tolist():
            rows = np.flatnonzero(numbers == number)
            formula = self.formulas[number - 1]
            own = {name: cells[name].take(pa.array(rows)) for name in formula.columns}
            nothing = arrow.flat(array).take(pa.array(rows))
            wrong[rows] = formula.undefined(own, nothing)
        return wrong

    def is_determined(
        self, numbers: np.ndarray, known: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Return where the known cells of a row fix the gate, (n,) bool.

        Args:
            numbers: 1 + the number of the candidate that holds, 0 if none does, (n,).
            known: Which cells of each parent are known, (n,) bool.
        """
        tried = np.where(numbers > 0, numbers, len(self.candidates))
        determined = np.ones(len(numbers), bool)
        for place, formula in enumerate(self.formulas):
            for name in formula.columns:
                determined &= known[name] | (place >= tried)
        return determined

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        return self.plain.values_of(values, type)

    def labels(self, type: pa.DataType) -> list[str]:
        return self.plain.labels(type)

    def to_dict(self) -> dict[str, Any]:
        own = {
            "form": self.form,
            "name": self.name,
            "kind": self.kind,
            "type": self.type,
            "rows": self.rows,
            "variables": [asdict(variable) for variable in self.variables],
        }
        candidates = [
            {"formula": c.formula.to_dict(), "matches": c.matches, "first": c.first}
            for c in self.candidates
        ]
        return own | {
            "plain_column": self.plain.to_dict(),
            "candidates": candidates,
            "exceptions": self.exceptions,
        }


def derived_column(column: Column, candidates: Sequence[Candidate]) -> DerivedColumn:
    """Add constraints to a column.

    Args:
        column: The column without constraints, fitted to all training rows.
        candidates: Its constraints in the order in which they are tried, with their
            counts in the training rows. Those that are never the first to hold are
            dropped.

    Raises:
        ValueError: No candidate is the first to hold in any row, they hold in more rows
            than there are, or the column holds lists.
    """
    if isinstance(column, ListColumn | DerivedColumn):
        raise ValueError(
            f"column {column.name!r}: a {column.form} column is not a value"
        )
    kept = tuple(candidate for candidate in candidates if candidate.first)
    held = sum(candidate.first for candidate in kept)
    if not 0 < held <= column.rows:
        raise ValueError(
            f"column {column.name!r}: its constraints hold in {held} of {column.rows} "
            "training rows"
        )
    exceptions = column.rows - held
    counts = (
        [exceptions, *(c.first for c in kept)]
        if exceptions
        else [c.first for c in kept]
    )
    gate = Variable(
        f"{column.name}.constraint",
        "categorical",
        0,
        size=len(counts),
        frequencies=tuple(count / column.rows for count in counts),
    )
    following = column.variables if exceptions else ()
    variables = (gate, *(_after_gate(variable) for variable in following))
    return DerivedColumn(
        column.name,
        column.kind,
        column.type,
        column.rows,
        variables,
        column,
        kept,
        exceptions,
    )


def _after_gate(variable: Variable) -> Variable:
    """Return a variable of a plain column as it follows the gate."""
    if variable.parent is None:
        return replace(variable, parent=0, parent_code=0, at_least=False)
    return replace(variable, parent=variable.parent + 1)

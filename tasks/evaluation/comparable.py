"""Log-probabilities by which two models of the same columns can be compared.

A model knows the values of its own training rows. One that has seen fewer of them
calls more of them rare, and all rare values share one probability: the model looks
better the fewer values it distinguishes. So values that one of the models does not
know count as one value in both; and where only one model gives a repeated value of a
real column a probability of its own, the other's density there is integrated over the
smallest distance between the known values. A value that only one of them finds by a
constraint is determined as exactly as values are told apart: there the other's density
is integrated over the distance of neighbouring training values. Values within
sequences are left as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.density.table_density import TableDensity
from ar_models.families.orderings import mean_of_orderings
from ar_models.scoring.column_log_prob import (
    Floats,
    ordering_conditionals,
    sum_by_column,
)
from ar_models.tables import arrow
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import IN_SUPPORT, UNSEEN, Column
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import Encoded, TableEncoder
from ar_models.tables.real_column import RealColumn
from tasks.evaluation.checks import Check

SHARED_SPECIALS = ("missing", "nan")
"""Special codes that mean the same in every model; `rare` does not."""


@dataclass(frozen=True)
class SharedAtoms:
    """Values of a real column to which only the other model gives a probability.

    Attributes:
        values: These values, ascending.
        width: Length of the interval over which the density is integrated at each of
            them, in the column's unit.
    """

    values: NDArray[np.float64]
    width: float


@dataclass(frozen=True)
class SharedConstraints:
    """Cells of a real column to which only the other model gives a probability.

    Attributes:
        encoder: The other model's encoder.
        index: Index of the column there.
        width: Length of the interval over which the density is integrated, in the
            column's unit.
    """

    encoder: TableEncoder
    index: int
    width: float


@dataclass(frozen=True)
class Comparable:
    """A model restricted to what another model of the same columns distinguishes.

    Attributes:
        density: The model.
        shared: By column index, which of the column's codes the other model knows too;
            columns of which both know the same codes are left out.
        atoms: By index of a real column, the values that only the other model treats
            as atoms.
        constraints: By index of a real column that is derived in one of the models,
            the other model, whose constraints hold in other cells.
    """

    density: TableDensity
    shared: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    atoms: Mapping[int, SharedAtoms] = field(default_factory=dict)
    constraints: Mapping[int, SharedConstraints] = field(default_factory=dict)

    @property
    def adjusted_columns(self) -> tuple[str, ...]:
        """Names of the columns whose log-probabilities are adjusted."""
        names = self.density.columns
        return tuple(
            names[j] for j in sorted({*self.shared, *self.atoms, *self.constraints})
        )

    @torch.inference_mode()
    def column_log_prob(self, rows: pa.Table, encoded: Encoded) -> Floats:
        """Return the comparable log-probability of each cell, (n, columns), in nats.

        Each column is given those before it in the model's ordering.

        Args:
            rows: Rows of the table, n.
            encoded: These rows as encoded by the model's encoder.
        """
        model = self.density.model
        x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
        volume = encoded.log_abs_det.copy()
        unshared = {j: self._unshared_cells(j, rows, encoded) for j in self.shared}
        for j, rows_of_column in unshared.items():
            volume[rows_of_column, j] = 0.0
        by_ordering = []
        for conditionals in ordering_conditionals(model, encoded, x):
            log_prob = conditionals.log_prob(x).clone()
            for j, rows_of_column in unshared.items():
                i = self.density.encoder.value_variable(j)
                at = torch.from_numpy(rows_of_column).to(x.device)
                codes = conditionals.log_probabilities(i)
                mass = self._unshared_log_mass(j, codes[at])
                log_prob[at, i] = mass.to(log_prob.dtype)
            by_ordering.append(log_prob)
        mean = mean_of_orderings(torch.stack(by_ordering))
        of_columns = sum_by_column(mean, model.variables)
        return np.asarray(of_columns + volume + self._log_widths(rows, encoded))

    def _unshared_cells(
        self, j: int, rows: pa.Table, encoded: Encoded
    ) -> NDArray[np.bool_]:
        """Return which cells of column `j` hold an unshared value, (n,).

        A value that a constraint gives keeps the probability of the constraint, which
        is at most that of all unshared values together.
        """
        encoder = self.density.encoder
        if isinstance(encoder.columns[j], DerivedColumn):
            # After code 0 of the gate comes the code of the value.
            codes = encoder.encode_plain(j, rows).x[:, 0]
            present = ~np.isnan(encoded.x[:, encoder.value_variable(j)])
            unseen = np.zeros(len(present), bool)
        else:
            codes = encoded.x[:, encoder.value_variable(j)]
            present = encoded.out_of_support[:, j] == IN_SUPPORT
            unseen = encoded.out_of_support[:, j] == UNSEEN
        shared = self.shared[j][np.where(present, codes, 0).astype(np.int64)]
        return np.asarray(unseen | (present & ~shared))

    def _unshared_log_mass(self, j: int, log_probs: Tensor) -> Tensor:
        """Return the log-probability of all unshared values together, (n,), in nats.

        Args:
            j: Index of the column.
            log_probs: Log-probabilities of its codes, (n, codes).
        """
        mass = self.density.encoder.columns[j].out_of_support_mass
        among = torch.from_numpy(~self.shared[j]).to(log_probs.device)
        of_codes = log_probs[:, among].double().logsumexp(-1) + np.log1p(-mass)
        of_unseen = of_codes.new_full((), np.log(mass / 3))
        return torch.logaddexp(of_codes, of_unseen)

    def _log_widths(self, rows: pa.Table, encoded: Encoded) -> Floats:
        """Return the log-widths that turn densities at shared atoms into probabilities.

        The result has shape (n, columns) and is 0 elsewhere.
        """
        added = np.zeros(encoded.log_abs_det.shape)
        for j, atoms in self.atoms.items():
            values = arrow.reals(rows[self.density.columns[j]].combine_chunks()).values
            at = np.isin(values, atoms.values) & (
                encoded.out_of_support[:, j] == IN_SUPPORT
            )
            added[at, j] = np.log(atoms.width)
        for j, other in self.constraints.items():
            theirs = other.encoder.encode_column(other.index, rows)
            known = theirs.out_of_support == IN_SUPPORT
            at = _has_density(self.density.encoder, j, encoded.x)
            value = theirs.x[:, other.encoder.columns[other.index].value]
            at &= known & ~_is_density(other.encoder, other.index, value)
            added[at, j] = np.log(other.width)
        return added


def comparable(
    first: TableDensity, second: TableDensity
) -> tuple[Comparable, Comparable]:
    """Restrict two models of columns of the same names and types to shared values."""
    shared: tuple[dict[int, NDArray[np.bool_]], ...] = ({}, {})
    atoms: tuple[dict[int, SharedAtoms], ...] = ({}, {})
    constraints: tuple[dict[int, SharedConstraints], ...] = ({}, {})
    for j, mine in enumerate(first.encoder.columns):
        k = second.columns.index(mine.name)
        theirs = second.encoder.columns[k]
        if isinstance(mine.plain, CodeColumn) and isinstance(theirs.plain, CodeColumn):
            own, other = _known_values(mine.plain), _known_values(theirs.plain)
            for known, index, column in ((shared[0], j, mine), (shared[1], k, theirs)):
                plain = column.plain
                assert isinstance(plain, CodeColumn)
                if own != other and _has_value_codes(column):
                    known[index] = _is_shared(plain, own & other)
        elif isinstance(mine.plain, RealColumn) and isinstance(
            theirs.plain, RealColumn
        ):
            both = mine.plain, theirs.plain
            width = _least_distance(both)
            if mine.form == theirs.form == RealColumn.form:
                _share_atoms((atoms[0], j, mine.plain), theirs.plain, width)
                _share_atoms((atoms[1], k, theirs.plain), mine.plain, width)
            else:
                width = min(map(_resolution, both))
                constraints[0][j] = SharedConstraints(second.encoder, k, width)
                constraints[1][k] = SharedConstraints(first.encoder, j, width)
    return (
        Comparable(first, shared[0], atoms[0], constraints[0]),
        Comparable(second, shared[1], atoms[1], constraints[1]),
    )


def _has_value_codes(column: Column) -> bool:
    """Return whether a categorical column has codes of values, not of a gate alone."""
    return not isinstance(column, DerivedColumn) or column.has_exceptions


def _share_atoms(
    place: tuple[dict[int, SharedAtoms], int, RealColumn],
    other: RealColumn,
    width: float,
) -> None:
    """Note the atoms of another column that the column at a place lacks."""
    atoms, index, column = place
    lacking = np.setdiff1d(other.atoms, column.atoms)
    if len(lacking):
        atoms[index] = SharedAtoms(lacking, width)


def _has_density(
    encoder: TableEncoder, j: int, x: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return which encoded cells of a real column have a density, (n,)."""
    return _is_density(encoder, j, x[:, encoder.value_variable(j)])


def _is_density(
    encoder: TableEncoder, j: int, values: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return where the main variable of a column is a real number that is present."""
    column = encoder.columns[j]
    if column.variables[column.value].kind != "real":
        return np.zeros(len(values), bool)
    return ~np.isnan(values)


def check_same_columns(
    first: TableDensity,
    second: TableDensity,
    *,
    names: tuple[str, str] = ("the challenger", "the champion"),
) -> Check:
    """Check that two models give probabilities of the same columns in the same units.

    A density cannot be compared with a probability, nor the probability of all rare
    values with that of single numbers.

    Args:
        first: A model.
        second: The model to compare it with.
        names: What the remark calls them.
    """
    ours, theirs = _units(first, second), _units(second, first)
    differing = sorted(n for n in ours | theirs if ours.get(n) != theirs.get(n))
    remark = "both model the same columns"
    if differing:
        each = "; ".join(
            f"{n} is {theirs.get(n, 'not modelled')} in {names[1]} and "
            f"{ours.get(n, 'not modelled')} in {names[0]}"
            for n in differing
        )
        remark = f"log-probabilities of different columns cannot be compared: {each}"
    passed = not differing
    return Check("columns", len(differing), passed, remark, bound=0, needs_review=True)


def _units(density: TableDensity, other: TableDensity) -> dict[str, str]:
    """Describe what each column's log-probability refers to, by column name.

    Args:
        density: The model.
        other: The model it is compared with, which may code a column of numbers.
    """
    coded = {c.name for c in other.encoder.columns if isinstance(c.plain, CodeColumn)}
    units = {}
    for column in density.encoder.columns:
        units[column.name] = column.type
        if column.kind == "real":
            units[column.name] += " as a density"
        elif "rare" in column.specials_seen and column.name not in coded:
            units[column.name] += " with rare values as one"
    return units


def _known_values(column: CodeColumn) -> set[object]:
    """Return the values of a column with codes of their own, special ones by name.

    A missing value is always among them: every model has a code for it.
    """
    own = {special for special in column.specials if special in SHARED_SPECIALS}
    return {("value", value) for value in column.values} | own | {"missing"}


def _is_shared(column: CodeColumn, both: set[object]) -> NDArray[np.bool_]:
    """Return which codes of a column stand for a value that both models know."""
    codes = [("value", value) for value in column.values]
    return np.array([code in both for code in (*codes, *column.specials)])


def _resolution(column: RealColumn) -> float:
    """Return the mean distance of neighbouring training values where it is smallest.

    The knots are quantiles, with about as many training rows between any two.
    """
    knots = replace(column, atoms=())
    return _least_distance((knots,)) * max(len(column.knots) - 1, 1) / column.rows


def _least_distance(columns: Sequence[RealColumn]) -> float:
    """Return the smallest distance of known values; of a single one, its precision."""
    known = [value for column in columns for value in (*column.atoms, *column.knots)]
    values = np.unique(known)
    if len(values) < 2:
        return float(np.spacing(np.abs(values).max()))
    return float(np.diff(values).min())

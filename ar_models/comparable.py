"""Log-probabilities that two models of the same columns can be compared by.

A model knows the values of its own training rows. One that has seen fewer of them
calls more of them rare, and the probability of "rare" is that of them all: it looks
better the less it tells apart. So values that one of the models does not know count as
one value in both; and where one of them alone gives a repeated value a probability, the
other's density there is taken over the least distance of the values that they know.
Values within sequences are left as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models import cells
from ar_models.autoregressive import mean_of_orderings
from ar_models.columns import PRESENT, UNSEEN, CodeColumn, RealColumn
from ar_models.density import TableDensity
from ar_models.encoder import Encoded
from ar_models.judgement import Floats, by_column, conditionals_of

SHARED_SPECIALS = ("missing", "nan")
"""Special codes that mean the same in every model; `rare` does not."""


@dataclass(frozen=True)
class Spots:
    """Values of a real column that have a probability in the other model alone.

    Attributes:
        values: Those values, ascending.
        width: Over which a density counts there, in the column's units.
    """

    values: NDArray[np.float64]
    width: float


@dataclass(frozen=True)
class Comparable:
    """What of a model's log-probabilities can be compared with another model's.

    Attributes:
        density: The model.
        told: Of columns by number: which of its codes the other model knows too.
        spots: Of real columns by number.
    """

    density: TableDensity
    told: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    spots: Mapping[int, Spots] = field(default_factory=dict)

    @property
    def differs(self) -> tuple[str, ...]:
        """Names of the columns whose log-probabilities are not the model's own."""
        names = self.density.columns
        return tuple(names[j] for j in sorted({*self.told, *self.spots}))

    @torch.inference_mode()
    def column_log_prob(self, rows: pa.Table, encoded: Encoded) -> Floats:
        """Of each column given those before it, (n, columns), nats.

        Args:
            rows: Rows of the table, n.
            encoded: As the model's encoder encodes them.
        """
        model = self.density.model
        x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
        volume = encoded.log_volume.copy()
        untold = {j: self.untold(j, encoded) for j in self.told}
        for j, which in untold.items():
            volume[which, j] = 0.0
        each = []
        for conditionals in conditionals_of(model, encoded, x):
            log_prob = conditionals.log_prob(x).clone()
            for j, which in untold.items():
                i = self.density.encoder.value_variable(j)
                at = torch.from_numpy(which).to(x.device)
                codes = conditionals.log_probabilities(i)
                log_prob[at, i] = self.log_mass(j, codes[at]).to(log_prob.dtype)
            each.append(log_prob)
        found = by_column(mean_of_orderings(torch.stack(each)), model.variables)
        return np.asarray(found + volume + self.log_widths(rows, encoded))

    def untold(self, j: int, encoded: Encoded) -> NDArray[np.bool_]:
        """Which cells of column `j` hold what one of the models does not know, (n,)."""
        codes = encoded.x[:, self.density.encoder.value_variable(j)]
        present = encoded.escapes[:, j] == PRESENT
        known = self.told[j][np.where(present, codes, 0).astype(np.int64)]
        unseen = encoded.escapes[:, j] == UNSEEN
        return np.asarray(unseen | (present & ~known))

    def log_mass(self, j: int, log_probs: Tensor) -> Tensor:
        """Log-probability of all that is not told apart, (n,), nats.

        Args:
            j: The column.
            log_probs: Of its codes, (n, codes).
        """
        mass = self.density.encoder.columns[j].escape_mass
        among = torch.from_numpy(~self.told[j]).to(log_probs.device)
        of_codes = log_probs[:, among].double().logsumexp(-1) + np.log1p(-mass)
        of_unseen = of_codes.new_full((), np.log(mass / 3))
        return torch.logaddexp(of_codes, of_unseen)

    def log_widths(self, rows: pa.Table, encoded: Encoded) -> Floats:
        """What a density becomes a probability by, at the spots: (n, columns), nats."""
        added = np.zeros(encoded.log_volume.shape)
        for j, spots in self.spots.items():
            values = cells.reals(rows[self.density.columns[j]].combine_chunks()).values
            at = np.isin(values, spots.values) & (encoded.escapes[:, j] == PRESENT)
            added[at, j] = np.log(spots.width)
        return added


def comparable(
    first: TableDensity, second: TableDensity
) -> tuple[Comparable, Comparable]:
    """What can be compared of two models of columns of the same names and types."""
    told: tuple[dict[int, NDArray[np.bool_]], ...] = ({}, {})
    spots: tuple[dict[int, Spots], ...] = ({}, {})
    for j, mine in enumerate(first.encoder.columns):
        k = second.columns.index(mine.name)
        theirs = second.encoder.columns[k]
        if isinstance(mine, CodeColumn) and isinstance(theirs, CodeColumn):
            both = codes_of(mine) & codes_of(theirs)
            if codes_of(mine) != both or codes_of(theirs) != both:
                told[0][j], told[1][k] = known(mine, both), known(theirs, both)
        elif isinstance(mine, RealColumn) and isinstance(theirs, RealColumn):
            width = least_distance((mine, theirs))
            for own, number, column, other in (
                (spots[0], j, mine, theirs),
                (spots[1], k, theirs, mine),
            ):
                lacking = np.setdiff1d(other.atoms, column.atoms)
                if len(lacking):
                    own[number] = Spots(lacking, width)
    return Comparable(first, told[0], spots[0]), Comparable(second, told[1], spots[1])


def codes_of(column: CodeColumn) -> set[object]:
    """The values that have codes of their own; special ones by their names.

    A missing value is told apart by a model that never saw one too.
    """
    own = {special for special in column.specials if special in SHARED_SPECIALS}
    return {("value", value) for value in column.values} | own | {"missing"}


def known(column: CodeColumn, both: set[object]) -> NDArray[np.bool_]:
    """Which codes of a column are among those of both models, (codes,)."""
    codes = [("value", value) for value in column.values]
    return np.array([code in both for code in (*codes, *column.specials)])


def least_distance(columns: Sequence[RealColumn]) -> float:
    """Of the values that columns know, in their units; of one value, its precision."""
    each = [value for column in columns for value in (*column.atoms, *column.knots)]
    values = np.unique(each)
    if len(values) < 2:
        return float(np.spacing(np.abs(values).max()))
    return float(np.diff(values).min())

"""Violations of constraints in new rows, compared with the calibration rows."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ar_models.tables import inequality
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import Encoded, TableEncoder
from tasks.monitoring.histograms import Histogram, Scale

VIOLATED = "no constraint holds"
"""Label of cells in which no constraint of their column holds."""

MIN_INCREASE = 0.001
"""Minimum increase of a violation rate that is reported as drift, where there were
violations before."""


@dataclass(frozen=True)
class ViolationRate:
    """Rates of violated constraints of a column, before and now.

    Attributes:
        column: Name of the column.
        constraint: Its constraints as text, joined by "or"; or its inequality.
        monitored: Whether an increase counts as drift.
        violations: Number of violations in the calibration rows and in the new rows.
        rows: Number of the calibration rows and of the new rows.
        p_value: Probability of rates that differ as much, by a likelihood-ratio test of
            two binomial distributions, one-sided.
    """

    column: str
    constraint: str
    monitored: bool
    violations: tuple[int, int]
    rows: tuple[int, int]
    p_value: float

    @property
    def rates(self) -> tuple[float, float]:
        """Share of rows with a violation, of the calibration rows and the new rows."""
        old, new = self.violations
        return old / max(self.rows[0], 1), new / max(self.rows[1], 1)

    def is_drift(self, alpha: float) -> bool:
        """Return whether violations have become more frequent.

        Args:
            alpha: Significance level.
        """
        old, new = self.rates
        relevant = new - old >= MIN_INCREASE or not self.violations[0]
        return self.monitored and relevant and self.p_value < alpha

    def describe(self) -> str:
        """Return the rates as a phrase."""
        (old, new), (many, rows) = self.rates, (self.violations[1], self.rows[1])
        return (
            f"constraint {self.column} {self.constraint}: violated in {many} of "
            f"{rows} rows ({100 * new:.3g} %), {100 * old:.3g} % of the calibration "
            "rows"
        )


def derived_columns(encoder: TableEncoder) -> list[tuple[int, DerivedColumn]]:
    """Return the index and description of each column with constraints."""
    return [
        (j, column)
        for j, column in enumerate(encoder.columns)
        if isinstance(column, DerivedColumn)
    ]


def gate_scales(encoder: TableEncoder) -> tuple[Scale, ...]:
    """Return bins of the constraints of each derived column, and of violations.

    The inequalities follow the derived columns.
    """
    derived = tuple(
        Scale((), (*(f.describe() for f in column.formulas), VIOLATED))
        for _, column in derived_columns(encoder)
    )
    return derived + tuple(
        Scale((), (each.describe(), VIOLATED)) for each in encoder.inequalities
    )


def count_gates(
    encoder: TableEncoder, scales: Sequence[Scale], rows: pa.Table, encoded: Encoded
) -> Iterator[Histogram]:
    """Yield, for each derived column, in how many rows each constraint holds.

    The same for each inequality follows.

    Args:
        encoder: The model's encoder.
        scales: Bins of the constraints.
        rows: The rows.
        encoded: Their variables.
    """
    columns = derived_columns(encoder)
    for (j, column), scale in zip(columns, scales, strict=False):
        numbers = column.numbers(encoded.x[:, encoder.span(j).start])
        places = np.where(numbers > 0, numbers - 1, len(column.formulas))
        yield scale.count(np.zeros(len(places)), places)
    flat = encoder.flatten(rows)
    violated = inequality.violations(encoder.inequalities, flat, encoder.schema)
    for k, scale in enumerate(scales[len(columns) :]):
        yield scale.count(np.zeros(len(violated)), violated[:, k].astype(np.int64))


def violation_rates(
    encoder: TableEncoder,
    reference: Sequence[Histogram],
    batch: Sequence[Histogram],
    ignore: Sequence[str] = (),
) -> list[ViolationRate]:
    """Compare the violations of constraints in new rows with the calibration rows.

    Args:
        encoder: The model's encoder.
        reference: Histograms of the constraints of each derived column, and of each
            inequality, in the calibration rows.
        batch: The same in the new rows.
        ignore: Columns whose drift is not reported.
    """
    found = []
    constraints = [
        (column.name, f"= {' or '.join(f.describe() for f in column.formulas)}")
        for _, column in derived_columns(encoder)
    ] + [
        (each.column, f"{each.operator} {each.right}") for each in encoder.inequalities
    ]
    for (name, text), old, new in zip(constraints, reference, batch, strict=True):
        violations = int(old.counts[-1]), int(new.counts[-1])
        rows = int(old.counts.sum()), int(new.counts.sum())
        found.append(
            ViolationRate(
                name,
                text,
                name not in ignore,
                violations,
                rows,
                increase_p_value(violations, rows),
            )
        )
    return found


def increase_p_value(counts: tuple[int, int], rows: tuple[int, int]) -> float:
    """Return the one-sided p-value of an increase of a rate.

    It is that of the likelihood-ratio test of two binomial distributions, whose
    statistic is approximately chi-square with one degree of freedom.

    Args:
        counts: Number of events before and now.
        rows: Number of trials before and now, at least as many.
    """
    if not all(rows) or counts[1] / rows[1] <= counts[0] / rows[0]:
        return 1.0
    together = sum(counts) / sum(rows)
    statistic = 2 * sum(
        n * (_divergence(k / n, together) + _divergence(1 - k / n, 1 - together))
        for k, n in zip(counts, rows, strict=True)
    )
    return math.erfc(math.sqrt(statistic / 2)) / 2


def _divergence(p: float, q: float) -> float:
    """Return p log(p / q), 0 where p is."""
    return p * math.log(p / q) if p else 0.0

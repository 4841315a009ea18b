"""The selection of anomalies among all rows of a scoring job.

q-values, and the rows that an anomaly budget covers, depend on the p-values and anomaly
scores of all rows together. Both are computed from the parts of the job in memory that
does not grow with the number of rows: p-values are counted by value, and the lowest
anomaly score within a budget is found by radix search, one digit per pass.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ar_models.scoring.conformal import (
    Floats,
    Integers,
    Rule,
    ValueCounts,
    flag_anomalies,
)
from tasks.runtime import storage

READERS = 4
"""Number of parts that are read concurrently."""

DIGIT_BITS = 16
"""Bits of the anomaly score that one pass over the parts determines."""

BitPatterns = NDArray[np.uint64]
Result = TypeVar("Result")


@dataclass(frozen=True)
class BudgetCutoff:
    """The last rows that fit an anomaly budget.

    Rows are ordered by increasing p-value, then by decreasing anomaly score, then by
    their position in the dataset.

    Attributes:
        p_value: Rows with a smaller p-value are anomalies.
        score_bits: Among rows with this p-value, those whose anomaly score has a higher
            bit pattern (see `sortable_bits`) are anomalies.
        ties: Number of rows with exactly this p-value and score that are anomalies, for
            each part; within a part the first ones are.
    """

    p_value: float
    score_bits: int
    ties: tuple[int, ...]


@dataclass(frozen=True)
class AnomalySelection:
    """The facts about all rows that decide which rows of a single part are anomalies.

    Attributes:
        rule: The rule that makes a row an anomaly.
        p_value_counts: Number of rows by p-value; None for an uncalibrated model.
        cutoff: The end of the budget; None unless the rule is a budget.
    """

    rule: Rule
    p_value_counts: ValueCounts | None
    cutoff: BudgetCutoff | None

    def q_value(self, p_value: Floats) -> Floats | None:
        """Return the q-values of some p-values, or None for an uncalibrated model."""
        if self.p_value_counts is None:
            return None
        return self.p_value_counts.q_value(p_value)

    def is_anomaly(self, table: pa.Table, part: int) -> NDArray[np.bool_] | None:
        """Return which rows of a part are anomalies.

        Args:
            table: Rows of the part, with anomaly_score, p_value and severity.
            part: Index of the part.

        Returns:
            Booleans, (rows,); None if the rule cannot be applied without calibration.
        """
        scores = table["anomaly_score"].to_numpy()
        if self.cutoff is not None:
            return self._within_budget(p_values(table), sortable_bits(scores), part)
        if self.p_value_counts is None:
            return None
        ranked = {
            "q_value": self.q_value(table["p_value"].to_numpy()),
            "severity": table["severity"].to_numpy(),
        }
        return flag_anomalies(self.rule, scores, ranked)

    def _within_budget(
        self, p_value: Floats, bits: BitPatterns, part: int
    ) -> NDArray[np.bool_]:
        assert self.cutoff is not None
        cutoff = np.uint64(self.cutoff.score_bits)
        same_p = p_value == self.cutoff.p_value
        tied = same_p & (bits == cutoff)
        above = (p_value < self.cutoff.p_value) | (same_p & (bits > cutoff))
        first_ties = tied & (np.cumsum(tied) <= self.cutoff.ties[part])
        return np.asarray(above | first_ties)


def select_anomalies(
    paths: Sequence[str], rule: Rule, calibrated: bool
) -> AnomalySelection:
    """Read the p-values of all parts and decide which rows are anomalies.

    Args:
        paths: Parts of the job in order, each with p_value and anomaly_score.
        rule: The rule that makes a row an anomaly.
        calibrated: Whether the model gives p-values.
    """
    if not calibrated and rule.kind != "budget":
        return AnomalySelection(rule, None, None)
    counts = ValueCounts(np.empty(0), np.empty(0, np.int64))
    for part in map_parts(paths, lambda table: ValueCounts.of(p_values(table))):
        counts = counts.merge(part)
    cutoff = find_cutoff(paths, rule, counts) if rule.kind == "budget" else None
    return AnomalySelection(rule, counts if calibrated else None, cutoff)


def find_cutoff(paths: Sequence[str], rule: Rule, counts: ValueCounts) -> BudgetCutoff:
    """Return where the budget of `rule` ends among the rows of all parts.

    Args:
        paths: Parts of the job in order.
        rule: A rule of kind "budget".
        counts: Number of rows by p-value.
    """
    budget = rule.count(int(counts.counts.sum()))
    if budget == 0:
        return BudgetCutoff(-1.0, 0, (0,) * len(paths))
    cumulative = np.cumsum(counts.counts)
    last = int(np.searchsorted(cumulative, budget))
    p_value = float(counts.values[last])
    remaining = budget - int(cumulative[last] - counts.counts[last])
    bits, remaining = find_score(paths, p_value, remaining)

    def count_ties(table: pa.Table) -> int:
        scores = sortable_bits(table["anomaly_score"].to_numpy())
        return int(np.sum((p_values(table) == p_value) & (scores == np.uint64(bits))))

    ties = []
    for count in map_parts(paths, count_ties):
        ties.append(min(remaining, count))
        remaining -= ties[-1]
    return BudgetCutoff(p_value, bits, tuple(ties))


def find_score(paths: Sequence[str], p_value: float, wanted: int) -> tuple[int, int]:
    """Find the `wanted`-th highest anomaly score among the rows with one p-value.

    Args:
        paths: Parts of the job.
        p_value: Only rows with this p-value are ranked.
        wanted: Rank of the score, from 1.

    Returns:
        The bit pattern of the score, and how many of the rows that have exactly this
        score are among the `wanted` highest.
    """
    prefix = 0
    for shift in range(64 - DIGIT_BITS, -1, -DIGIT_BITS):
        count = partial(count_digits, p_value=p_value, shift=shift, prefix=prefix)
        total = np.zeros(1 << DIGIT_BITS, np.int64)
        for part in map_parts(paths, count):
            total += part
        above = np.cumsum(total[::-1])[::-1] - total
        digit = int(np.flatnonzero(above < wanted)[0])
        wanted -= int(above[digit])
        prefix = prefix << DIGIT_BITS | digit
    return prefix, wanted


def count_digits(
    table: pa.Table, *, p_value: float, shift: int, prefix: int
) -> Integers:
    """Count the values of one digit of the anomaly scores that have a known prefix.

    Args:
        table: Rows of a part.
        p_value: Only rows with this p-value are counted.
        shift: Position of the digit, in bits from the right.
        prefix: Value of the bits to the left of the digit.

    Returns:
        Number of rows by the digit's value, (2**DIGIT_BITS,).
    """
    bits = sortable_bits(table["anomaly_score"].to_numpy())[p_values(table) == p_value]
    if shift + DIGIT_BITS < 64:
        bits = bits[bits >> np.uint64(shift + DIGIT_BITS) == np.uint64(prefix)]
    digits = bits >> np.uint64(shift) & np.uint64((1 << DIGIT_BITS) - 1)
    return np.bincount(digits.astype(np.int64), minlength=1 << DIGIT_BITS)


def sortable_bits(values: Floats) -> BitPatterns:
    """Map floats to unsigned integers that sort alike; both zeros become equal."""
    bits = (values + 0.0).view(np.uint64)
    negative = bits >> np.uint64(63) == 1
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def p_values(table: pa.Table) -> Floats:
    """Return the p-values of scored rows, (rows,); all 1 for an uncalibrated model."""
    column = table["p_value"]
    if column.null_count:
        return np.ones(len(column))
    return np.asarray(column.to_numpy())


def map_parts(
    paths: Sequence[str], function: Callable[[pa.Table], Result]
) -> Iterator[Result]:
    """Apply a function to the p-values and anomaly scores of each part.

    Args:
        paths: The parts.
        function: Called with a table of anomaly_score and p_value.

    Yields:
        The results in the order of `paths`.
    """

    def apply(path: str) -> Result:
        filesystem, inner = storage.resolve(path)
        with filesystem.open_input_file(inner) as file:
            columns = ["anomaly_score", "p_value"]
            return function(pq.ParquetFile(file).read(columns, use_threads=False))

    with ThreadPoolExecutor(READERS) as executor:
        for start in range(0, len(paths), READERS):
            yield from executor.map(apply, paths[start : start + READERS])

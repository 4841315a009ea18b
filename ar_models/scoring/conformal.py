"""Conformal p-values, q-values and severities of anomaly scores, and flagged rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Number = TypeVar("Number", np.float64, np.int64)

TIE = 1e-4
"""Scores (nats) closer than this are equal: float32 sums depend on the batch."""

DEFAULT_SEVERITY = 99.9
"""Severity, in percent, from which a row is an anomaly if no rule is given."""

SEGMENT_PREFIX = "segment:"
"""Prefix of the names under which a calibration holds codes of categorical columns."""


@dataclass(frozen=True)
class Rule:
    """A rule by which rows are flagged as anomalies.

    Attributes:
        kind: `threshold`: severity of at least `value`; `fdr`: q_value of at most
            `value`; `budget`: the most anomalous rows, `value` of them, or that share
            of all rows (rounded down) if it is less than 1.
        value: Bound or number of rows, as `kind` says.
    """

    kind: Literal["threshold", "fdr", "budget"]
    value: float

    @classmethod
    def of(
        cls,
        threshold: float | None = None,
        fdr: float | None = None,
        budget: float | None = None,
    ) -> "Rule":
        """Return the rule for the one option that is given, or the default rule.

        Raises:
            ValueError: More than one option is given, or a value is out of its range.
        """
        given = {"threshold": threshold, "fdr": fdr, "budget": budget}
        named = {k: v for k, v in given.items() if v is not None}
        if len(named) > 1:
            raise ValueError(
                f"only one of threshold, fdr and budget can define anomalies, got "
                f"{named!r}"
            )
        if threshold is not None and not 0 < threshold < 100:
            raise ValueError(f"threshold must lie between 0 and 100, got {threshold!r}")
        if fdr is not None:
            if not 0 < fdr < 1:
                raise ValueError(f"fdr must lie between 0 and 1, got {fdr!r}")
            return cls("fdr", fdr)
        if budget is not None:
            if not budget > 0 or (budget >= 1 and budget != int(budget)):
                raise ValueError(
                    f"budget must be a share below 1 or a whole number of rows, got "
                    f"{budget!r}"
                )
            return cls("budget", budget)
        return cls("threshold", DEFAULT_SEVERITY if threshold is None else threshold)

    def count(self, rows: int) -> int:
        """Return how many of a number of rows a budget flags."""
        share = self.value < 1
        return int(self.value * rows) if share else min(int(self.value), rows)


DEFAULT_RULE = Rule("threshold", DEFAULT_SEVERITY)


@dataclass(frozen=True)
class Ranking:
    """Sorted anomaly scores of the calibration rows, among which rows are ranked.

    Attributes:
        scores: Anomaly scores of all calibration rows, ascending.
        segments: Ascending scores of the rows with each code of the column that defines
            segments; codes with too few rows are left out and use all. {}: no segments.
        counts: Number of calibration rows with each code that occurs.
    """

    scores: Floats
    segments: Mapping[int, Floats]
    counts: Mapping[int, int]

    @classmethod
    def of(
        cls, scores: Floats, codes: Integers | None = None, min_rows: int = 1
    ) -> "Ranking":
        """Sort the scores of calibration rows.

        Args:
            scores: Anomaly scores of the rows, (n,).
            codes: Segments of the rows, (n,), -1 where unknown; None: no segments.
            min_rows: Rows that a segment needs for a ranking of its own.
        """
        if codes is None:
            return cls(np.sort(scores), {}, {})
        order = np.lexsort([scores, codes])
        pairs = list(_runs(codes[order], scores[order]))
        return cls(
            np.sort(scores),
            {code: run for code, run in pairs if code >= 0 and len(run) >= min_rows},
            {code: len(run) for code, run in pairs if code >= 0},
        )

    def rank(
        self, scores: Floats, codes: Integers | None = None
    ) -> tuple[Floats, Floats]:
        """Return p-values and severities of rows, each (n,).

        The p-value is the share of calibration rows that are at least as anomalous, the
        row itself counted among them; the severity is the percentage of calibration
        rows that are less anomalous.

        Args:
            scores: Anomaly scores of the rows, (n,).
            codes: Segments of the rows, (n,); required if there are segments.
        """
        at_least = _count_at_least(self.scores, scores)
        count = np.full(len(scores), len(self.scores))
        if self.segments:
            assert codes is not None
            order = np.argsort(codes, kind="stable")
            for code, rows in _runs(codes[order], order):
                own = self.segments.get(code)
                if own is not None:
                    at_least[rows] = _count_at_least(own, scores[rows])
                    count[rows] = len(own)
        p_value = (1.0 + at_least) / (1.0 + count)
        return p_value, 100.0 * (count - at_least) / count


def _runs(
    codes: Integers, values: NDArray[Number]
) -> Iterator[tuple[int, NDArray[Number]]]:
    """Yield each code of ascending `codes` (n,) with its slice of `values` (n,)."""
    found, starts = np.unique(codes, return_index=True)
    ends = np.append(starts[1:], len(codes))
    for code, start, end in zip(found.tolist(), starts, ends, strict=False):
        yield code, values[start:end]


def _count_at_least(ascending: Floats, scores: Floats) -> Integers:
    """Count the ascending scores that are at least as high as each score."""
    below = np.searchsorted(ascending, scores - TIE, side="left")
    return np.asarray(len(ascending) - below)


@dataclass(frozen=True)
class ValueCounts:
    """Distinct values that a dataset's rows hold, with the number of rows of each.

    Conformal p-values take at most one value more than there are calibration rows (of
    each segment), so those of any number of rows fit into memory.

    Attributes:
        values: Distinct values, ascending, (k,).
        counts: Number of rows with each, (k,).
    """

    values: Floats
    counts: Integers

    @classmethod
    def of(cls, values: Floats) -> "ValueCounts":
        """Count the values of rows, (n,)."""
        return cls(*np.unique(values, return_counts=True))

    def merge(self, other: "ValueCounts") -> "ValueCounts":
        """Return the counts over the rows of both."""
        values, inverse = np.unique(
            np.concatenate([self.values, other.values]), return_inverse=True
        )
        counts = np.bincount(inverse, np.concatenate([self.counts, other.counts]))
        return ValueCounts(values, counts.astype(np.int64))

    @cached_property
    def q_values(self) -> Floats:
        """Benjamini and Hochberg's q-values of rows with each of the p-values, (k,).

        Reference:
            Benjamini, Hochberg, Controlling the false discovery rate, 1995.
            https://doi.org/10.1111/j.2517-6161.1995.tb02031.x
        """
        at_most = np.cumsum(self.counts)
        rates = self.values * (at_most[-1] if len(at_most) else 0) / at_most
        least = np.minimum.accumulate(rates[::-1])[::-1]
        return np.minimum(least, 1.0)

    def q_value(self, p_value: Floats) -> Floats:
        """Look up the q-values of rows whose p-values, (n,), were all counted."""
        return self.q_values[np.searchsorted(self.values, p_value)]


def flag_anomalies(
    rule: Rule, scores: Floats, ranked: Mapping[str, Floats]
) -> NDArray[np.bool_] | None:
    """Return which rows of a whole dataset are anomalies, (n,).

    A budget takes rows by p-value, then by anomaly score, then in file order, so it is
    met exactly despite ties.

    Args:
        rule: What counts as an anomaly.
        scores: Anomaly scores of the rows, (n,).
        ranked: Their p_value, q_value and severity, each (n,); empty without
            calibration rows. Then only a budget can be met; other rules give None.
    """
    if rule.kind == "budget":
        p_value = ranked.get("p_value", np.ones(len(scores)))
        order = np.lexsort([-scores, p_value])
        flagged = np.zeros(len(scores), dtype=bool)
        flagged[order[: rule.count(len(scores))]] = True
        return flagged
    if not ranked:
        return None
    if rule.kind == "fdr":
        return np.asarray(ranked["q_value"] <= rule.value)
    return np.asarray(ranked["severity"] >= rule.value)


def array_or_nulls(
    values: NDArray[np.generic] | None, rows: int, type: pa.DataType
) -> pa.Array:
    """Return the values as an Arrow array, or nulls if there are none."""
    return pa.nulls(rows, type) if values is None else pa.array(values, type)

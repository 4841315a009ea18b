"""Where anomaly scores stand: p-values, q-values, severities, and what is flagged."""

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

THRESHOLD = 99.9
"""Severity from which a row is an anomaly where no rule is given."""

SEGMENT = "segment:"
"""Prefix of the names under which a calibration holds codes of categorical columns."""


@dataclass(frozen=True)
class Rule:
    """Which rows are anomalies.

    Attributes:
        kind: `threshold`: severity of at least `value`; `fdr`: q_value of at most
            `value`; `budget`: the most anomalous rows, `value` of them, or that share
            of all where it is less than 1 (rounded down).
        value: As `kind` says.
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
        """The one rule that is given, or the default.

        Raises:
            ValueError: More than one is given, or a value is out of its range.
        """
        given = {"threshold": threshold, "fdr": fdr, "budget": budget}
        named = {k: v for k, v in given.items() if v is not None}
        if len(named) > 1:
            raise ValueError(
                f"only one of threshold, fdr and budget can say what an anomaly is, "
                f"got {named!r}"
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
        return cls("threshold", THRESHOLD if threshold is None else threshold)

    def count(self, rows: int) -> int:
        """How many of so many rows a budget flags."""
        share = self.value < 1
        return int(self.value * rows) if share else min(int(self.value), rows)


@dataclass(frozen=True)
class Reference:
    """The calibration rows that scores are compared with.

    Attributes:
        scores: Anomaly scores of all calibration rows, ascending.
        segments: Those of the rows with each code of the column that segments them,
            ascending; codes with too few rows are not here and use all. {}: no
            segments.
        counts: Calibration rows with each code, of all codes that occur.
    """

    scores: Floats
    segments: Mapping[int, Floats]
    counts: Mapping[int, int]

    @classmethod
    def of(
        cls, scores: Floats, codes: Integers | None = None, least: int = 1
    ) -> "Reference":
        """That of calibration rows.

        Args:
            scores: Of the rows, (n,).
            codes: Their segments, (n,), -1 where unknown; None: no segments.
            least: Rows that a segment needs to be a reference of its own.
        """
        if codes is None:
            return cls(np.sort(scores), {}, {})
        order = np.lexsort([scores, codes])
        pairs = list(_runs(codes[order], scores[order]))
        return cls(
            np.sort(scores),
            {code: part for code, part in pairs if code >= 0 and len(part) >= least},
            {code: len(part) for code, part in pairs if code >= 0},
        )

    def rank(self, scores: Floats, codes: Integers | None = None) -> tuple[Floats, ...]:
        """p-values and severities of rows, each (n,).

        A p-value is the share of calibration rows at least as anomalous, the row itself
        counted among them; a severity the percentage of them that are less anomalous.

        Args:
            scores: Anomaly scores of the rows, (n,).
            codes: Their segments, (n,); needed if there are segments.
        """
        exceeding = _at_least_as_anomalous(self.scores, scores)
        count = np.full(len(scores), len(self.scores))
        if self.segments:
            assert codes is not None
            order = np.argsort(codes, kind="stable")
            for code, rows in _runs(codes[order], order):
                own = self.segments.get(code)
                if own is not None:
                    exceeding[rows] = _at_least_as_anomalous(own, scores[rows])
                    count[rows] = len(own)
        p_value = (1.0 + exceeding) / (1.0 + count)
        return p_value, 100.0 * (count - exceeding) / count


def _runs(
    codes: Integers, values: NDArray[Number]
) -> Iterator[tuple[int, NDArray[Number]]]:
    """Each code of ascending `codes` (n,), and the `values` (n,) that stand there."""
    found, starts = np.unique(codes, return_index=True)
    ends = np.append(starts[1:], len(codes))
    for code, start, end in zip(found.tolist(), starts, ends, strict=False):
        yield code, values[start:end]


def _at_least_as_anomalous(reference: Floats, scores: Floats) -> Integers:
    """How many of the ascending `reference` are at least as anomalous."""
    below = np.searchsorted(reference, scores - TIE, side="left")
    return np.asarray(len(reference) - below)


@dataclass(frozen=True)
class Counts:
    """Numbers that a dataset's rows hold, and how often each occurs.

    Conformal p-values take at most one value more than there are calibration rows (of
    each segment), so that those of any number of rows fit in here.

    Attributes:
        values: Distinct and ascending, (k,).
        counts: (k,).
    """

    values: Floats
    counts: Integers

    @classmethod
    def of(cls, values: Floats) -> "Counts":
        """Those of some rows."""
        return cls(*np.unique(values, return_counts=True))

    def merge(self, other: "Counts") -> "Counts":
        """Those of the rows of both."""
        values, inverse = np.unique(
            np.concatenate([self.values, other.values]), return_inverse=True
        )
        counts = np.bincount(inverse, np.concatenate([self.counts, other.counts]))
        return Counts(values, counts.astype(np.int64))

    @cached_property
    def q_values(self) -> Floats:
        """The q-value of rows with each of the p-values, (k,).

        Reference:
            Benjamini, Hochberg, Controlling the false discovery rate, 1995.
            https://doi.org/10.1111/j.2517-6161.1995.tb02031.x
        """
        at_most = np.cumsum(self.counts)
        rates = self.values * (at_most[-1] if len(at_most) else 0) / at_most
        least = np.minimum.accumulate(rates[::-1])[::-1]
        return np.minimum(least, 1.0)

    def q_value(self, p_value: Floats) -> Floats:
        """The q-values of rows, given their p-values, which were all counted: (n,)."""
        return self.q_values[np.searchsorted(self.values, p_value)]


def flags(
    rule: Rule, scores: Floats, ranked: Mapping[str, Floats]
) -> NDArray[np.bool_] | None:
    """Which rows of a whole dataset are anomalies, (n,).

    A budget takes rows by p-value, then by anomaly score, then as they come, so it is
    met exactly whatever ties there are.

    Args:
        rule: What an anomaly is.
        scores: Anomaly scores of the rows, (n,).
        ranked: Their p_value, q_value and severity, each (n,); empty without a
            reference. Then only a budget can be met: otherwise None.
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


def optional(
    values: NDArray[np.generic] | None, rows: int, type: pa.DataType
) -> pa.Array:
    """The values as Arrow's, or so many nulls where there are none."""
    return pa.nulls(rows, type) if values is None else pa.array(values, type)

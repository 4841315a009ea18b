"""Counts of the values of a column: exact, or approximate in bounded memory.

Distinct values are counted exactly as long as there are few. Beyond that a t-digest
gives quantiles (which, unlike most quantile sketches, draws nothing at random, so that
a repeated run gives the same encoder), a frequent-items sketch gives the most frequent
values, and a sample of distinct values with their counts gives all other statistics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasketches import (
    PyDoublesSerDe,
    PyLongsSerDe,
    frequent_items_error_type,
    frequent_items_sketch,
    tdigest_double,
)

from ar_models.tables import arrow
from tasks.data.hashing import mix

DIGEST_CENTROIDS = 500
"""Size of a t-digest; ranks are then accurate to about 0.1 %."""

FREQUENT_LOG2_SIZE = 12
"""Log2 of the size of the frequent-items sketch, which then finds every value with a
share above 0.1 %."""

HEAVY_SHARE = 0.01
"""Values with a larger share of a fragment are counted outside the digest."""

RARE_SHARE = 1e-4
"""Values with a smaller share of a fragment are not given to the frequent items."""

SAMPLE_SIZE = 8192
"""Number of distinct values in the sample."""


@dataclass(frozen=True)
class EmpiricalDistribution:
    """Distinct values of a column in ascending order, with the rows of each.

    Attributes:
        values: (n,) ascending.
        counts: (n,) number of rows; fractional where it is estimated.
    """

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(
        cls, values: np.ndarray, counts: np.ndarray, without: Sequence[float] = ()
    ) -> "EmpiricalDistribution":
        """Sum up the counts of values in any order, leaving some values out."""
        kept = ~np.isin(values, np.asarray(without)) if len(without) else slice(None)
        unique, inverse = np.unique(values[kept], return_inverse=True)
        return cls(unique, np.bincount(inverse, counts[kept], minlength=len(unique)))

    def quantile(self, share: float) -> Any:  # int or float
        """Return the smallest value that at least this share of rows do not exceed."""
        total = np.cumsum(self.counts)
        place = np.searchsorted(total, share * total[-1])
        return self.values[min(place, len(self.values) - 1)].item()


@dataclass(frozen=True)
class ExactCounts:
    """The number of rows of every distinct value.

    Attributes:
        values: Distinct values, as an Arrow array.
        counts: (n,) number of rows of each.
    """

    values: pa.Array
    counts: np.ndarray

    @classmethod
    def sum(
        cls,
        values: Sequence[pa.Array],
        counts: Sequence[np.ndarray],
        type: pa.DataType,
    ) -> "ExactCounts":
        """Add up the counts of several arrays of values."""
        table = pa.table(
            {
                "value": pa.concat_arrays([v.cast(type) for v in values]),
                "count": pa.array(np.concatenate(counts).astype(np.int64)),
            }
        )
        summed = table.group_by("value", use_threads=False)
        found = summed.aggregate([("count", "sum")]).combine_chunks()
        return cls(
            arrow.flat(found.column("value")), found.column("count_sum").to_numpy()
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def distinct(self) -> int:
        """Number of distinct values."""
        return len(self.values)

    @property
    def numbers(self) -> np.ndarray:
        """The values as a numpy array."""
        numbers: np.ndarray = self.values.to_numpy(zero_copy_only=False)
        return numbers

    def merge(self, other: "ExactCounts") -> "ExactCounts":
        """Return the counts of the rows of both."""
        type = self.values.type if len(self) else other.values.type
        return ExactCounts.sum(
            [self.values, other.values], [self.counts, other.counts], type
        )

    def distribution(self, without: Sequence[float] = ()) -> EmpiricalDistribution:
        """Return the distribution of the values, leaving some out."""
        counts = np.asarray(self.counts, np.float64)
        return EmpiricalDistribution.of(self.numbers, counts, without)

    def above(self, least: float) -> list[tuple[Any, int]]:  # int or float
        """Return the values with more than `least` rows, and their counts."""
        kept = self.counts > least
        return list(
            zip(self.numbers[kept].tolist(), self.counts[kept].tolist(), strict=True)
        )

    def approximate(self) -> "ApproximateCounts":
        """Return approximate counts of the same rows, for numbers."""
        values, counts = self.numbers, self.counts
        heavy = counts > HEAVY_SHARE * counts.sum()
        digest = tdigest_double(DIGEST_CENTROIDS)
        light, weights = values[~heavy].astype(np.float64), counts[~heavy]
        for begin in range(0, len(light), 1 << 14):
            end = begin + (1 << 14)
            digest.update(np.repeat(light[begin:end], weights[begin:end]))
        items = frequent_items_sketch(FREQUENT_LOG2_SIZE)
        for value, count in self.above(RARE_SHARE * counts.sum()):
            items.update(value, count)
        is_integer = values.dtype == np.int64
        return ApproximateCounts(
            is_integer,
            digest.serialize(),
            items.serialize(_serialiser(is_integer)),
            dict(zip(values[heavy].tolist(), counts[heavy].tolist(), strict=True)),
            *_least_hashes(values, counts),
        )


@dataclass(frozen=True)
class ApproximateCounts:
    """Sketches of how often numbers occur, in memory that does not grow with the rows.

    Attributes:
        is_integer: Whether the numbers are int64, not float64.
        digest: Serialised t-digest of all values that are not heavy.
        frequent: Serialised frequent-items sketch.
        heavy: Very frequent values and the number of rows of each.
        sample: (m,) the distinct values with the smallest hashes, by hash.
        sample_counts: (m,) the number of rows of each.
    """

    is_integer: bool
    digest: bytes
    frequent: bytes
    heavy: dict[Any, int]  # by int or float
    sample: np.ndarray
    sample_counts: np.ndarray

    @property
    def distinct(self) -> int:
        """Estimated number of distinct values."""
        hashes = mix(self.sample.view(np.uint64))
        return round((len(hashes) - 1) / (int(hashes[-1]) / 2.0**64))

    def merge(self, other: "ApproximateCounts") -> "ApproximateCounts":
        """Return the counts of the rows of both."""
        digest = tdigest_double.deserialize(self.digest)
        digest.merge(tdigest_double.deserialize(other.digest))
        serialiser = _serialiser(self.is_integer)
        items = frequent_items_sketch.deserialize(self.frequent, serialiser)
        items.merge(frequent_items_sketch.deserialize(other.frequent, serialiser))
        values, inverse = np.unique(
            np.concatenate([self.sample, other.sample]), return_inverse=True
        )
        counts = np.concatenate([self.sample_counts, other.sample_counts])
        return ApproximateCounts(
            self.is_integer,
            digest.serialize(),
            items.serialize(serialiser),
            {
                value: self.heavy.get(value, 0) + other.heavy.get(value, 0)
                for value in [*self.heavy, *other.heavy]
            },
            *_least_hashes(values, np.bincount(inverse, counts).astype(np.int64)),
        )

    def distribution(
        self,
        low: float,
        high: float,
        without: Sequence[float] = (),
    ) -> EmpiricalDistribution:
        """Return the distribution of the values between `low` and `high`.

        Args:
            low: Smallest value of the column.
            high: Largest value of the column.
            without: Values to leave out.
        """
        digest = tdigest_double.deserialize(self.digest)
        values, counts = np.empty(0), np.empty(0)
        if not digest.is_empty():
            edges = _rank_edges(digest.get_total_weight())
            middle = (edges[1:] + edges[:-1]) / 2
            values = np.array([digest.get_quantile(float(r)) for r in middle])
            counts = np.diff(edges) * digest.get_total_weight()
        values = np.concatenate([values, np.array(list(self.heavy), float)])
        counts = np.concatenate([counts, np.array(list(self.heavy.values()), float)])
        if self.is_integer:
            values = np.clip(np.rint(values), -(2.0**62), 2.0**62).astype(np.int64)
            values = np.clip(values, low, high)
        return EmpiricalDistribution.of(values, counts, without)

    def above(self, least: float) -> list[tuple[Any, int]]:  # int or float
        """Return the values with more than `least` rows, and their counts."""
        serialiser = _serialiser(self.is_integer)
        items = frequent_items_sketch.deserialize(self.frequent, serialiser)
        found = items.get_frequent_items(
            frequent_items_error_type.NO_FALSE_NEGATIVES, max(1, int(least))
        )
        return [(item[0], item[1]) for item in found]


def _serialiser(is_integer: bool) -> Any:  # a datasketches serialiser, untyped
    return PyLongsSerDe() if is_integer else PyDoublesSerDe()


def _least_hashes(
    values: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `SAMPLE_SIZE` values of smallest hashes and their counts, by hash."""
    hashes = mix(values.view(np.uint64))
    kept = np.arange(len(hashes))
    if len(hashes) > SAMPLE_SIZE:
        kept = np.argpartition(hashes, SAMPLE_SIZE)[:SAMPLE_SIZE]
    kept = kept[np.argsort(hashes[kept])]
    return values[kept], counts[kept]


def _rank_edges(total: float) -> np.ndarray:
    """Return the ranks between which a digest is read: even, finer at both ends."""
    fine = 2.0 ** -np.arange(math.ceil(math.log2(max(4096.0, total))), 11, -1)
    even = np.arange(1, 2048) / 2048
    return np.unique(np.concatenate([[0.0], fine, even, 1 - fine, [1.0]]))

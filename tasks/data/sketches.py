"""Mergeable summaries of a column: one class each for words, numbers and lists."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.columns import SPECIALS
from ar_models.tables.grid import least_decimals
from ar_models.tables.list_cells import Lists, element_types
from tasks.config.data import DataConfig
from tasks.data.cells import Cells, Representation, to_cells
from tasks.data.counts import ApproximateCounts, EmpiricalDistribution, ExactCounts

EXACT_CELLS = 1 << 22
"""Number of distinct values that are counted exactly, over all columns together; the
driver merges so many for every fragment."""

EXACT_LENGTHS = 1 << 14
"""Number of distinct lengths of lists that are counted exactly in one fragment."""

MAX_EXACT_FLOAT = 2.0**53
"""Up to this, every whole number is a float64."""


@dataclass(frozen=True)
class WordSketch:
    """Summary of a column of text or bytes.

    Attributes:
        rows: Number of rows.
        missing: Number of nulls.
        repeats: Whether a value was seen twice.
        counts: Rows of each distinct value, or None if there are too many.
    """

    rows: int
    missing: int
    repeats: bool
    counts: ExactCounts | None

    @property
    def regular(self) -> int:
        """Number of values that are not null."""
        return self.rows - self.missing

    @property
    def distinct(self) -> int | None:
        """Number of distinct values, or None if there are too many to count."""
        return None if self.counts is None else self.counts.distinct

    def merge(self, other: "WordSketch", max_distinct: int) -> "WordSketch":
        """Return the sketch of the rows of both, exact up to `max_distinct` values."""
        counts, repeats = None, self.repeats or other.repeats
        if self.counts is not None and other.counts is not None:
            counts = self.counts.merge(other.counts)
            repeats |= len(counts) < len(self.counts) + len(other.counts)
            if len(counts) > max_distinct:
                counts = None
        return WordSketch(
            self.rows + other.rows, self.missing + other.missing, repeats, counts
        )


@dataclass(frozen=True)
class NumberSketch:
    """Summary of a column of integers or reals.

    Dates, times and decimals are integers in units of their type.

    Attributes:
        is_integer: Whether the values are int64, not float64.
        rows: Number of rows.
        missing: Number of nulls.
        off: Number of values that do not fit 64 bits.
        specials: Number of rows of NaN, +inf and -inf.
        low: Smallest finite value, or None if there is none.
        high: Largest finite value.
        is_whole: Whether all finite values are whole numbers of at most 2**53.
        decimals: Number of decimals of all finite values, None if there are more than
            `MAX_DECIMALS`.
        divisor: Greatest common divisor of whole values, or 0.
        repeats: Whether a value was seen twice.
        counts: Rows of each distinct value, exact or approximate.
    """

    is_integer: bool
    rows: int
    missing: int
    off: int
    specials: dict[str, int]
    low: Any  # int or float
    high: Any  # int or float
    is_whole: bool
    decimals: int | None
    divisor: int
    repeats: bool
    counts: ExactCounts | ApproximateCounts

    @property
    def regular(self) -> int:
        """Number of values that are neither null nor NaN nor infinite."""
        return self.rows - self.missing - sum(self.specials.values()) - self.off

    @property
    def distinct(self) -> int:
        """Number of distinct regular values, estimated if there are many."""
        return self.counts.distinct

    def merge(self, other: "NumberSketch", max_distinct: int) -> "NumberSketch":
        """Return the sketch of the rows of both, exact up to `max_distinct` values."""
        ends = [s for s in (self, other) if s.low is not None]
        a, b = self.counts, other.counts
        counts: ExactCounts | ApproximateCounts
        if isinstance(a, ExactCounts) and isinstance(b, ExactCounts):
            counts = a.merge(b)
            repeated = len(counts) < len(a) + len(b)
            if len(counts) > max_distinct:
                counts = counts.approximate()
        else:
            a = a.approximate() if isinstance(a, ExactCounts) else a
            b = b.approximate() if isinstance(b, ExactCounts) else b
            counts = a.merge(b)
            # A value that each of two fragments holds once shows here only.
            repeated = bool((counts.sample_counts > 1).any())
        return NumberSketch(
            is_integer=self.is_integer,
            rows=self.rows + other.rows,
            missing=self.missing + other.missing,
            off=self.off + other.off,
            specials={k: n + other.specials[k] for k, n in self.specials.items()},
            low=min((s.low for s in ends), default=None),
            high=max((s.high for s in ends), default=None),
            is_whole=self.is_whole and other.is_whole,
            decimals=(
                None
                if self.decimals is None or other.decimals is None
                else max(self.decimals, other.decimals)
            ),
            divisor=math.gcd(self.divisor, other.divisor),
            repeats=self.repeats or other.repeats or repeated,
            counts=counts,
        )

    def distribution(self, without: Sequence[float] = ()) -> EmpiricalDistribution:
        """Return the distribution of the regular values, leaving some out."""
        if isinstance(self.counts, ExactCounts):
            return self.counts.distribution(without)
        return self.counts.distribution(self.low, self.high, without)

    def frequent_values(self, share: float, max_values: int) -> dict[Any, int]:
        """Return the values with more than a share of the regular rows.

        Args:
            share: Share of the regular rows.
            max_values: Number of values to return at most.

        Returns:
            Number of rows by value, the most frequent value first.
        """
        pairs = self.counts.above(share * self.regular)
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        return dict(pairs[:max_values])


@dataclass(frozen=True)
class ListSketch:
    """Summary of a column of lists: of their lengths and of their elements.

    Attributes:
        rows: Number of rows.
        missing: Number of nulls.
        lengths: Sketch of the lengths of the lists.
        fields: Sketches of the elements, by field; "" if they are not structs.
    """

    rows: int
    missing: int
    lengths: NumberSketch
    fields: dict[str, "Sketch"] = field(default_factory=dict)

    @property
    def distinct(self) -> None:
        """None, since distinct lists are not counted."""
        return None

    def merge(self, other: "ListSketch", max_distinct: int) -> "ListSketch":
        """Return the sketch of the rows of both, exact up to `max_distinct` values."""
        both = self.fields.keys() & other.fields.keys()
        fields = self.fields | other.fields
        return ListSketch(
            self.rows + other.rows,
            self.missing + other.missing,
            self.lengths.merge(other.lengths, max_distinct),
            {
                name: merge(self.fields[name], other.fields[name], max_distinct)
                if name in both
                else fields[name]
                for name in fields
            },
        )


Sketch = WordSketch | NumberSketch | ListSketch


def merge(a: Sketch, b: Sketch, max_distinct: int) -> Sketch:
    """Return the sketch of the rows of two sketches of the same kind."""
    assert type(a) is type(b)
    return a.merge(b, max_distinct)  # type: ignore[arg-type]  # of the same kind


def max_exact(data: DataConfig, columns: int, representation: Representation) -> int:
    """Return the number of distinct values up to which a column is counted exactly.

    Args:
        data: Its `max_categories` are always counted exactly.
        columns: Number of columns that are sketched.
        representation: Of the column's values.
    """
    share = min(max(EXACT_CELLS // max(1, columns), 2048), 1 << 14)
    return max(share, data.max_categories) if representation == "words" else share


def sketch_column(cells: Cells, type: pa.DataType, max_distinct: int) -> Sketch:
    """Summarise one column of some rows.

    Args:
        cells: The cells of the column.
        type: Arrow type of the column.
        max_distinct: Number of distinct values up to which the sketch is exact.
    """
    if isinstance(cells, Lists):
        return _sketch_lists(cells, type, max_distinct)
    if cells.words is not None:
        return _sketch_words(cells, cells.words, max_distinct)
    return sketch_numbers(cells, type, max_distinct)


def _sketch_words(cells: arrow.Cells, words: pa.Array, max_distinct: int) -> WordSketch:
    tally = np.bincount(_regular(cells), minlength=len(words))
    seen = np.flatnonzero(tally)
    taken = words.take(pa.array(seen))
    counts = ExactCounts.sum([taken], [tally[seen]], words.type)
    return WordSketch(
        rows=len(cells.values),
        missing=len(cells.values) - int(tally.sum()),
        repeats=bool((counts.counts > 1).any()),
        counts=counts if len(counts) <= max_distinct else None,
    )


def _sketch_lists(cells: Lists, type: pa.DataType, max_distinct: int) -> ListSketch:
    lengths, missing = cells.lengths, 0
    if cells.missing is not None:
        missing = int(cells.missing.sum())
        lengths = lengths[~cells.missing]
    types = element_types(type)
    assert types is not None
    fields = {}
    for name, array in cells.fields.items():
        inner = to_cells(pa.chunked_array([array]), types[name])
        fields[name] = sketch_column(inner, types[name], max_distinct)
    return ListSketch(
        len(cells.lengths),
        missing,
        sketch_numbers(arrow.Cells(lengths), pa.int64(), EXACT_LENGTHS),
        fields,
    )


def sketch_numbers(
    cells: arrow.Cells, type: pa.DataType, max_distinct: int
) -> NumberSketch:
    """Summarise one column of numbers; see `sketch_column`."""
    is_integer = cells.values.dtype != np.float64
    rows, values = len(cells.values), _regular(cells)
    specials, off = dict.fromkeys(SPECIALS[1:], 0), 0
    if is_integer:
        missing = 0 if cells.missing is None else int(cells.missing.sum())
        off = rows - missing - len(values)
    else:
        missing = rows - len(values)
        values, specials = _separate_specials(values)
    ranked = np.sort(values)  # many times faster than hashing
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]][: len(ranked)])
    exact = ExactCounts(pa.array(ranked[starts]), np.diff(np.r_[starts, len(ranked)]))
    sketch = NumberSketch(
        is_integer=is_integer,
        rows=rows,
        missing=missing,
        off=off,
        specials=specials,
        low=None,
        high=None,
        is_whole=True,
        decimals=0,
        divisor=0,
        repeats=len(starts) < len(ranked),
        counts=exact if len(exact) <= max_distinct else exact.approximate(),
    )
    if len(ranked) == 0:
        return sketch
    low, high = ranked[0].item(), ranked[-1].item()
    is_whole = is_integer or bool(
        (values == np.floor(values)).all()
        and max(abs(low), abs(high)) <= MAX_EXACT_FLOAT
    )
    distinct = ranked[starts]
    decimals = 0 if is_integer else least_decimals(distinct, type)
    divisor = int(np.gcd.reduce(distinct.astype(np.int64))) if is_whole else 0
    return replace(
        sketch,
        low=low,
        high=high,
        is_whole=is_whole,
        decimals=decimals,
        divisor=divisor,
    )


def _regular(cells: arrow.Cells) -> np.ndarray:
    """Return the values of the cells that are neither missing nor off."""
    excluded = cells.missing
    if cells.off is not None:
        excluded = cells.off if excluded is None else excluded | cells.off
    return cells.values if excluded is None else cells.values[~excluded]


def _separate_specials(values: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Return the finite values, and the counts of NaN and the infinities."""
    finite = np.isfinite(values)
    special = values[~finite]
    counts = {
        "nan": int(np.isnan(special).sum()),
        "+inf": int((special == np.inf).sum()),
        "-inf": int((special == -np.inf).sum()),
    }
    return values[finite] + 0.0, counts  # so that -0.0 is 0.0

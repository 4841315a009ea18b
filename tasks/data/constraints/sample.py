"""A sample of training rows as arrays, in which constraints are searched."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.formulas.numbers import COUNTED, NUMERIC, numbers

MAX_DECIMALS = 12
"""Maximum number of decimals of a column of reals that lies on a grid."""

GRID_SHARE = 0.98
"""Share of the values that lie on the grid of a column, at least."""

MAX_WHOLE = 2.0**52
"""Bound up to which neighbouring whole numbers differ as float64."""


@dataclass(frozen=True)
class SampledColumn:
    """One column of the sample of n rows.

    Attributes:
        name: Name of the column.
        type: Arrow type of the column.
        array: Its cells, (n,).
        values: Cells as numbers, (n,) float64, NaN where missing; None for text.
        codes: (n,) number of each cell's value, in ascending order of the values;
            missing cells have a number of their own, the last.
        counts: Number of rows of each code.
        missing: (n,) true where the cell is null, NaN or infinite.
    """

    name: str
    type: pa.DataType
    array: pa.Array
    values: np.ndarray | None
    codes: np.ndarray
    counts: np.ndarray
    missing: np.ndarray

    @property
    def family(self) -> str:
        """Family of the Arrow type."""
        family = arrow.family(self.type)
        assert family is not None
        return family

    @property
    def is_text(self) -> bool:
        """Return whether the column holds text."""
        return self.family == "text"

    @property
    def is_moment(self) -> bool:
        """Return whether the column holds dates or timestamps."""
        return self.family in arrow.MOMENTS

    @property
    def is_plain_number(self) -> bool:
        """Return whether the column holds numbers, not times or bools."""
        return self.family in ("integer", "decimal", "real")

    @property
    def distinct(self) -> int:
        """Number of distinct values, null not counted."""
        return len(self.counts) - int(self.has_gaps)

    @cached_property
    def has_gaps(self) -> bool:
        """Whether any cell is null, NaN or infinite."""
        return bool(self.missing.any())

    @property
    def numbers(self) -> np.ndarray:
        """Values of a column that is not a text, (n,) float64; NaN where missing."""
        assert self.values is not None
        return self.values

    @cached_property
    def decimals(self) -> int | None:
        """Number of decimals of the grid that the numbers lie on, or None."""
        values = self.numbers[~self.missing]
        single = pa.types.is_float32(arrow.plain(self.type))
        for decimals in range(MAX_DECIMALS + 1):
            scaled = values * 10.0**decimals
            if not len(values) or np.abs(scaled).max() > MAX_WHOLE:
                break
            rounded = np.rint(scaled) / 10.0**decimals
            near = 1e-7 if single else 4e-16
            if (np.abs(rounded - values) <= near * np.abs(values)).mean() >= GRID_SHARE:
                return decimals
        return None if len(values) else 0

    @property
    def step(self) -> float:
        """Distance of neighbouring values of the grid; 0 if there is no grid."""
        return 0.0 if self.decimals is None else 10.0**-self.decimals

    @cached_property
    def surprisal(self) -> np.ndarray:
        """Code length of each cell by the column's own frequencies, (n,) nats."""
        lengths: np.ndarray = -np.log(self.counts / self.counts.sum())[self.codes]
        return lengths

    @cached_property
    def entropy(self) -> float:
        """Mean code length of a cell by these frequencies, in nats."""
        return float(self.surprisal.mean())

    @cached_property
    def is_mode(self) -> np.ndarray:
        """Mask of the cells that hold the most frequent value, (n,) bool."""
        mode: np.ndarray = self.codes == int(np.argmax(self.counts))
        return mode


@dataclass(frozen=True)
class Sample:
    """A sample of training rows.

    Attributes:
        columns: The columns, by name.
        rows: Number of rows.
    """

    columns: dict[str, SampledColumn]
    rows: int

    @cached_property
    def cells(self) -> dict[str, pa.Array]:
        """Cells of each column, by name."""
        return {name: column.array for name, column in self.columns.items()}

    def summands(self, least: int = 3) -> list[SampledColumn]:
        """Return the columns of numbers with at least some distinct values."""
        known = self.columns.values()
        return [c for c in known if c.is_plain_number and c.distinct >= least]

    def categories(self, most: int) -> Iterator[SampledColumn]:
        """Iterate over the columns with 2 to `most` values."""
        for column in self.columns.values():
            if 2 <= column.distinct <= most:
                yield column


def sample_of(table: pa.Table) -> Sample:
    """Return the sample that consists of the rows of a table without nested columns."""
    columns = {
        field.name: _sampled(field.name, field.type, table.column(field.name))
        for field in table.schema
    }
    return Sample(columns, table.num_rows)


def _sampled(name: str, type: pa.DataType, given: pa.ChunkedArray) -> SampledColumn:
    array = arrow.flat(given)
    missing = np.zeros(len(array), bool)
    values = None
    if arrow.family(type) in NUMERIC:
        values = numbers(array)
        missing = np.isnan(values)
        # Timestamps in fractions of a second are distinct as integers only.
        is_counted = arrow.family(type) in COUNTED
        keys = arrow.integers(array, type).values if is_counted else values
    else:
        cells = arrow.words(array)
        missing |= False if cells.missing is None else cells.missing
        words = np.asarray(
            [] if cells.words is None else cells.words.to_pylist(), object
        )
        # Equal words have equal numbers, in alphabetical order.
        ranks = np.unique(words, return_inverse=True)[1].reshape(-1)
        keys = ranks[cells.values] if len(words) else np.zeros(len(array), np.int64)
    codes = np.empty(len(array), np.int64)
    known, inverse = np.unique(keys[~missing], return_inverse=True)
    codes[~missing] = inverse.reshape(-1)
    codes[missing] = len(known)
    counts = np.bincount(codes, minlength=len(known))
    return SampledColumn(name, type, array, values, codes, counts, missing)

"""Points in which distances between rows are measured: one coordinate per number.

Numbers are standardised, bent by asinh and standardised again, so that one far value
does not outweigh all other columns. Codes that differ are as far apart as two random
numbers are on average: their squared distance is 2. So are two states of a cell, such
as missing and regular. An absent number stands at the mean.

A column that is derived from others by constraints counts once, with its parents: its
only coordinates say which constraint holds. Texts and lists that are modelled element
by element have none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.tables import arrow
from ar_models.tables.calendar_column import CalendarColumn
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.real_column import RealColumn

MAX_DIRECTIONS = 64
"""Maximum number of coordinates of a variable of codes; a variable of more codes has
one, which is compared for equality."""

DISTANCE = 2.0
"""Squared distance between two codes, which is that of two random standard numbers on
average."""


class Standard(NamedTuple):
    """A scale of numbers: location and scale, before and after asinh.

    Attributes:
        location: Mean of the numbers.
        scale: Their standard deviation.
        bent_location: Mean after asinh.
        bent_scale: Standard deviation after asinh.
    """

    location: float
    scale: float
    bent_location: float
    bent_scale: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Standard":
        """Estimate the scale from values, (n,), of which NaN are left out."""
        known = values[np.isfinite(values)]
        if not len(known):
            return cls(0.0, 1.0, 0.0, 1.0)
        location, scale = float(known.mean()), float(known.std()) or 1.0
        bent = np.arcsinh((known - location) / scale)
        return cls(location, scale, float(bent.mean()), float(bent.std()) or 1.0)

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map values (n,) to coordinates; absent ones, which are NaN, to 0."""
        bent = np.arcsinh((values - self.location) / self.scale)
        return np.nan_to_num((bent - self.bent_location) / self.bent_scale)


@dataclass(frozen=True)
class Codes:
    """A variable of codes, as a source of coordinates.

    Attributes:
        column: Index of the column.
        variable: Index of the variable in `x`.
        size: Number of places of codes.
        cyclic: Whether the places are a cycle, such as the months.
        merged: Number of codes after the first that share its place, as those do that
            follow the last place: they stand for numbers.
    """

    column: int
    variable: int
    size: int
    cyclic: bool = False
    merged: int = 0

    def points(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the coordinates of rows, (n, k); of absent codes, the mean of all.

        Absent codes that are compared for equality equal each other.
        """
        codes = x[:, self.variable].astype(np.float64)
        absent = np.isnan(codes)
        places = np.where(absent, 0, codes).astype(np.int64)
        places = np.maximum(places - self.merged, 0)
        places = np.where(places < self.size, places, 0)
        if self.is_compared:
            return np.where(absent, -1.0, places)[:, None]
        table = self.directions()
        return np.where(absent[:, None], table.mean(axis=0), table[places])

    @property
    def is_compared(self) -> bool:
        """Return whether its one coordinate is compared for equality."""
        return self.size > MAX_DIRECTIONS and not self.cyclic

    def directions(self) -> NDArray[np.float64]:
        """Return the coordinates of each place, (size, k)."""
        if self.size == 2:
            return np.array([[0.0], [np.sqrt(DISTANCE)]])
        if self.cyclic:
            angle = 2 * np.pi * np.arange(self.size) / self.size
            return np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return np.asarray(np.eye(self.size) * np.sqrt(DISTANCE / 2))


@dataclass(frozen=True)
class Number:
    """The value of a column of numbers, as a source of one coordinate.

    Attributes:
        column: Index of the column.
        start: Index of its first variable in `x`.
        form: The column.
        values: Numbers of the codes, for a column of codes; else empty.
    """

    column: int
    start: int
    form: NumberColumn | RealColumn | CodeColumn
    values: tuple[float, ...] = ()

    def numbers(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the numbers of rows, (n,), NaN where absent."""
        own = x[:, self.start : self.start + len(self.form.variables)]
        if isinstance(self.form, CodeColumn):
            codes = np.nan_to_num(own[:, 0], nan=-1).astype(np.int64)
            rest = max(int(codes.max(initial=0)) + 1 - len(self.values), 0)
            known = np.array([*self.values, *(np.nan,) * rest, np.nan])
            return np.asarray(known[codes])
        value = own[:, self.form.value].astype(np.float64)
        if isinstance(self.form, RealColumn):
            value = self.form.transform.inverse(value)
        else:
            for place, radix in enumerate(self.form.radices, self.form.value + 1):
                value = value * radix + own[:, place]
            value = value * self.form.step + self.form.offset
        if self.form.atoms:
            states = len(self.form.states)
            codes = np.nan_to_num(own[:, 0]).astype(np.int64) - states
            atoms = np.asarray(self.form.atoms, np.float64)
            value = np.where(codes >= 0, atoms[np.maximum(codes, 0)], value)
        return value


Source = Codes | Number


class Space:
    """Coordinates of the rows of a table.

    Args:
        encoder: Encoder of the rows.
        x: Encoded training rows, (m, dim), by which numbers are standardised.

    Attributes:
        sources: Sources of the coordinates.
        columns: Indices of the columns that have coordinates, ascending, (c,).
        starts: Index of the first coordinate of each of them, (c,).
        compared: Which coordinates are compared for equality, (k,).
    """

    def __init__(self, encoder: TableEncoder, x: NDArray[np.float32]) -> None:
        self.sources = list(sources_of(encoder))
        self._standards = [
            Standard.of(source.numbers(x)) if isinstance(source, Number) else None
            for source in self.sources
        ]
        widths = [part.shape[1] for part in self._parts(x[:1])]
        of_coordinates = np.repeat([s.column for s in self.sources], widths)
        self.columns, self.starts = np.unique(of_coordinates, return_index=True)
        compared = [isinstance(s, Codes) and s.is_compared for s in self.sources]
        self.compared = torch.from_numpy(np.repeat(compared, widths))

    def points(self, x: NDArray[np.float32]) -> Tensor:
        """Return the coordinates of encoded rows, (n, k) float32."""
        return torch.from_numpy(np.concatenate(self._parts(x), axis=1)).float()

    def _parts(self, x: NDArray[np.float32]) -> list[NDArray[np.float64]]:
        """Return the coordinates by source, each (n, …)."""
        parts = []
        for source, standard in zip(self.sources, self._standards, strict=True):
            if isinstance(source, Codes):
                parts.append(source.points(x))
            else:
                assert standard is not None
                parts.append(standard.apply(source.numbers(x))[:, None])
        return parts

    def squared_distances(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return the squared distances between points up to rounding, (n, m).

        From each is subtracted the squared length of the row, which ranks none of the
        other points before another; see `squared_lengths`.

        Args:
            rows: Points, (n, k).
            others: Points, (m, k).
        """
        plain = ~self.compared
        one, two = rows[:, plain], others[:, plain]
        squared = torch.addmm(two.square().sum(1), one, two.T, alpha=-2)
        for k in self.compared.nonzero().flatten().tolist():
            squared += DISTANCE * (rows[:, k, None] != others[:, k])
        return squared

    def squared_lengths(self, points: Tensor) -> Tensor:
        """Return the squared lengths of points, (n,), in coordinates not compared."""
        return points[:, ~self.compared].square().sum(1)

    def squared_differences(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return the squared differences of pairs of points in each coordinate, (n, k).

        Args:
            rows: Points, (n, k).
            others: Points, (n, k).
        """
        differ = DISTANCE * (rows != others)
        return torch.where(self.compared, differ, (rows - others).square())


def sources_of(encoder: TableEncoder) -> Iterator[Source]:
    """Yield the sources of the coordinates of encoded rows.

    Args:
        encoder: Encoder of the rows.
    """
    for j, column in enumerate(encoder.columns):
        start = encoder.span(j).start
        if isinstance(column, DerivedColumn):
            if column.has_exceptions:
                yield Codes(j, start, column.variables[0].size)
        elif isinstance(column, CalendarColumn):
            for i, variable in enumerate(column.variables, start):
                if variable.cyclic or variable.parent is None and variable.size:
                    yield Codes(j, i, variable.size, variable.cyclic)
        elif isinstance(column, CodeColumn):
            yield from _of_codes(j, start, column, arrow.family(encoder.type_of(j)))
        elif isinstance(column, NumberColumn | RealColumn):
            yield Number(j, start, column)
            if len(column.states) > 1:
                yield Codes(j, start, len(column.states))


def _of_codes(
    j: int, start: int, column: CodeColumn, family: arrow.Family | None
) -> Iterator[Source]:
    """Yield the sources of a column of codes; more than two numbers stay numbers."""
    known = len(column.values)
    if family not in ("real", "integer", "decimal") or known <= 2:
        yield Codes(j, start, max(column.variables[0].size, 2))
        return
    yield Number(j, start, column, tuple(float(value) for value in column.values))
    if column.specials:
        yield Codes(j, start, 1 + len(column.specials), merged=known - 1)

"""Integer columns, and those that count like integers: dates, decimals, times."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.cell_states import fill_states, place_states, special_states
from ar_models.tables.columns import (
    IN_SUPPORT,
    OUT_OF_RANGE,
    SPECIALS,
    Coded,
    Column,
)
from ar_models.tables.grid import from_units, to_units
from ar_models.tables.lookup import lookup
from ar_models.variables import MAX_INTEGER, Variable


@dataclass(frozen=True)
class NumberColumn(Column):
    """A column of integers, or of dates, decimals, timestamps or whole floats.

    A value becomes (value - offset) / step, which is split into digits: the lowest has
    the last of `radices`, the first variable what remains above all digits. So wide
    integers are digits of base 65536, and a timestamp is day, hour, minute and second.

    Attributes:
        states: Names of the codes of the state variable, () if there is none.
        offset: Subtracted first, in the type's units.
        step: The type's units in one unit of the lowest digit.
        radices: Sizes of the digits after the first.
        decimals: Number of decimals of a real column, whose values are integers after
            multiplication by ten to this power.
        atoms: Values far from all others that have codes of the state variable after
            `states`, such as -9999, ascending, in the type's units or those of the last
            decimal.
    """

    states: tuple[str, ...] = ()
    offset: int = 0
    step: int = 1
    radices: tuple[int, ...] = ()
    decimals: int = 0
    atoms: tuple[int, ...] = ()

    form: ClassVar[str] = "number"

    @property
    def specials_seen(self) -> tuple[str, ...]:
        return self.states

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        cell = arrow.integers(array, type)
        if self.decimals:
            reals = arrow.reals(array)
            units, off_grid = to_units(reals.values, self.decimals, type)
            cell = arrow.Cells(units, reals.missing, off_grid)
        digits, top, off = self._digits(cell.values)
        first = self.variables[self.value]
        low, high = bounds(first)
        outside = (top < low) | (top > high) | off
        states = None
        if cell.off is not None:
            outside |= cell.off
        if arrow.family(type) == "real" and cell.off is not None:
            states = special_states(arrow.reals(array).values)
        if self.atoms:
            at = lookup(np.array(self.atoms, np.int64), cell.values)
            if cell.off is not None:
                at[cell.off] = -1
            states = np.zeros(len(top), np.int64) if states is None else states
            states = np.where(at >= 0, len(SPECIALS) + 1 + at, states)
        out_of_support = np.where(outside, OUT_OF_RANGE, IN_SUPPORT).astype(np.int8)
        x = np.empty((len(top), len(self.variables)), np.float32)
        x[:, self.value] = top
        for place, digit in enumerate(digits):
            x[:, self.value + 1 + place] = digit
        regular = place_states(
            x, out_of_support, states, cell.missing, self.states, len(self.atoms)
        )
        if regular is not None:
            x[~regular, self.value :] = np.nan
        x[out_of_support != IN_SUPPORT] = np.nan
        return Coded(x, out_of_support)

    def _digits(
        self, values: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | bool]:
        """Return the digits, highest first, the first variable, and which are off."""
        off: np.ndarray | bool = False
        rest = values - self.offset if self.offset else values
        if self.step > 1:
            rest, over = np.divmod(rest, self.step)
            off = over != 0
        digits: list[np.ndarray] = []
        for radix in reversed(self.radices):
            if radix == 1 << 16:
                digits.append(rest & 0xFFFF)
                rest = rest >> 16
            else:
                above = rest // radix
                digits.append(rest - above * radix)
                rest = above
        return digits[::-1], rest, off

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        absent = np.isnan(x[:, self.value])
        values = np.where(absent, 0, np.rint(x[:, self.value])).astype(np.int64)
        for place, radix in enumerate(self.radices):
            digit = np.nan_to_num(np.rint(x[:, self.value + 1 + place]))
            values = values * radix + digit.astype(np.int64)
        values = values * self.step + self.offset
        codes = np.nan_to_num(x[:, 0], nan=1).astype(np.int64)
        if self.atoms:
            at = codes >= len(self.states)
            at &= ~np.isnan(x[:, 0])
            values[at] = np.array(self.atoms, np.int64)[codes[at] - len(self.states)]
            absent &= ~at
        if not self.states or arrow.family(type) != "real":
            return self._from_units(values, absent, type)
        reals = np.where(absent, 0.0, from_units(values, self.decimals))
        null = fill_states(reals, codes, np.isnan(x[:, 0]), self.states)
        return arrow.from_reals(reals, null if null.any() else None, type)

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        absent = np.isnan(values)
        whole = np.where(absent, 0, np.rint(values)).astype(np.int64)
        whole = whole * math.prod(self.radices) * self.step + self.offset
        return self._from_units(whole, absent, type)

    def nearest(self, array: pa.Array, type: pa.DataType) -> pa.Array:
        """Return the nearest possible values to numbers, those null or NaN unchanged.

        Args:
            array: Numbers of `type`, which is an integer or a floating type.
            type: The column's type.
        """
        unit = self.step / 10.0**self.decimals
        if unit == 1:
            return array
        reals = arrow.reals(array)
        whole = np.rint(
            (np.nan_to_num(reals.values) - self.offset)
            / self.step
            * (10.0**self.decimals)
        ).astype(np.int64)
        found = self._from_units(whole * self.step + self.offset, reals.missing, type)
        regular = pc.is_finite(arrow.flat(array).cast(pa.float64(), safe=False))
        return pc.if_else(pc.fill_null(regular, False), found, array)

    def _from_units(
        self, units: np.ndarray, absent: np.ndarray | None, type: pa.DataType
    ) -> pa.Array:
        """Return the array of `type` with these values in the column's own units."""
        null = absent if absent is not None and absent.any() else None
        if not self.decimals:
            return arrow.from_integers(units, null, type)
        return arrow.from_reals(from_units(units, self.decimals), null, type)

    def labels(self, type: pa.DataType) -> list[str]:
        if not self.states:
            return []
        atoms = self._from_units(np.array(self.atoms, np.int64), None, type)
        return list(self.states) + [str(v) for v in arrow.python_values(atoms)]

    def tops(self) -> np.ndarray:
        """Return the values of the main value variable that the atoms would have."""
        return self._digits(np.array(self.atoms, np.int64))[1]


def bounds(variable: Variable) -> tuple[float, float]:
    """Return the least and the greatest integer that a variable may hold."""
    if variable.kind == "categorical":
        return 0, variable.size - 1
    low = -MAX_INTEGER if variable.lower is None else variable.lower
    high = MAX_INTEGER if variable.upper is None else variable.upper
    return low, high

"""Binary and categorical columns."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.calendar_column import day_ticks
from ar_models.tables.columns import IN_SUPPORT, MISSING, UNSEEN, Coded, Column
from ar_models.tables.later_dates import shift_back
from ar_models.tables.lookup import lookup


@dataclass(frozen=True)
class CodeColumn(Column):
    """A binary or categorical column: one variable, with a code for each known value.

    Attributes:
        values: Known values in the order of their codes: text, hexadecimal bytes,
            integers in the type's units, or reals as text.
        specials: Names of the codes after those: missing, nan, rare, as occurred.
        rare: Values that share the code `rare`, as far as they were kept.
        rare_counts: How often each of those occurred.
    """

    values: tuple[Any, ...]
    specials: tuple[str, ...] = ()
    rare: tuple[Any, ...] = ()
    rare_counts: tuple[int, ...] = ()

    form: ClassVar[str] = "codes"

    @property
    def specials_seen(self) -> tuple[str, ...]:
        return self.specials

    def code(self, special: str) -> int:
        """Return the code of a special value, or -1 if it never occurred."""
        if special not in self.specials:
            return -1
        return len(self.values) + self.specials.index(special)

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        family = arrow.family(type)
        if family in ("text", "bytes"):
            cell = arrow.words(array)
            codes = self._word_codes(cell, family)
        elif family == "real":
            cell = arrow.reals(array)
            codes = lookup(np.array([float(v) for v in self.values]), cell.values)
            codes = np.where(np.isnan(cell.values), self.code("nan"), codes)
        else:
            cell = arrow.integers(array, type)
            known = np.array(self.values, np.int64)
            numbers = cell.values
            if family in arrow.MOMENTS and len(known):
                low, high = int(known.min()), int(known.max())
                later = shift_back(numbers, low, high, day_ticks(type))
                if later is not None:
                    numbers = np.where(later > 0, high, numbers)
            codes = lookup(known, numbers)
            if cell.off is not None:
                codes[cell.off] = -1
        out_of_support = np.zeros(len(codes), np.int8)
        unknown = codes < 0
        if unknown.any():
            rare = self.code("rare")
            codes = np.where(unknown, rare, codes)
            if rare < 0:
                out_of_support[unknown] = UNSEEN
        if cell.missing is not None:
            missing = self.code("missing")
            codes = np.where(cell.missing, missing, codes)
            out_of_support[cell.missing] = IN_SUPPORT if missing >= 0 else MISSING
        x = codes.astype(np.float32)
        x[codes < 0] = np.nan
        return Coded(x[:, None], out_of_support)

    def unknown(self, array: pa.Array, type: pa.DataType) -> np.ndarray:
        """Return which cells hold a value that is not known to have occurred, (n,)."""
        whole = replace(
            self,
            values=self.values + self.rare,
            specials=tuple(s for s in self.specials if s != "rare"),
            rare=(),
            rare_counts=(),
        )
        unknown: np.ndarray = whole.encode(array, type).out_of_support != IN_SUPPORT
        return unknown

    def _word_codes(self, cell: arrow.Cells, family: str) -> np.ndarray:
        """Return the codes of words, looked up once for each distinct word."""
        known = _words(self.values, family)
        if cell.words is None or len(cell.words) == 0:
            return np.full(len(cell.values), -1)
        places = pc.index_in(cell.words.cast(known.type), value_set=known)
        table = pc.fill_null(places, -1).to_numpy(zero_copy_only=False)
        codes: np.ndarray = table[cell.values]
        return codes

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        raw = x[:, 0]
        absent = np.isnan(raw)
        codes = np.where(absent, 0, raw).astype(np.int64)
        null = absent | (codes == self.code("missing"))
        rare = codes == self.code("rare")
        if rare.any():
            counts = np.asarray(self.rare_counts, float)
            drawn = rng.choice(len(self.rare), rare.sum(), p=counts / counts.sum())
            codes[rare] = len(self.values) + len(self.specials) + drawn
        return self._array(codes, null, type)

    def _array(
        self, codes: np.ndarray, null: np.ndarray, type: pa.DataType
    ) -> pa.Array:
        """Convert codes to values; after the specials come the codes of rare values."""
        family = arrow.family(type)
        mask = null if null.any() else None
        if family in ("text", "bytes"):
            gap = ("",) * len(self.specials)
            known = _words(self.values + gap + self.rare, family)
            taken = known.take(pa.array(codes, mask=mask))
            if pa.types.is_fixed_size_binary(arrow.plain(type)):
                taken = taken.cast(pa.binary())
            return arrow.as_type(taken, type)
        if family == "real":
            gap = tuple("nan" for _ in self.specials)
            known_reals = np.array([float(v) for v in self.values + gap + self.rare])
            return arrow.from_reals(known_reals[codes], mask, type)
        zeros = (0,) * len(self.specials)
        known_integers = np.array(self.values + zeros + self.rare, np.int64)
        return arrow.from_integers(known_integers[codes], mask, type)

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        codes = np.asarray(values).astype(np.int64)
        null = (codes == self.code("missing")) | (codes == self.code("rare"))
        return self._array(codes, null, type)

    def labels(self, type: pa.DataType) -> list[str]:
        known = np.arange(len(self.values))
        array = self._array(known, np.zeros(len(known), bool), type)
        return [str(v) for v in arrow.python_values(array)] + list(self.specials)


def _words(values: tuple[str, ...], family: str) -> pa.Array:
    """Return an array of text, or of bytes from their hexadecimal digits."""
    if family == "text":
        return pa.array(values, pa.large_string())
    return pa.array([bytes.fromhex(v) for v in values], pa.large_binary())

"""How one column of a table becomes variables, for each kind of column.

A column's variables stand in one group: a state variable first where the column has
special values, then the value, in one or more digits. `encode` and `decode` work on
whole arrays. Numbers of variables (parent) are relative to the column here;
`TableEncoder` shifts them.
"""

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.normal_scores import NormalScores
from ar_models.variables import MAX_INTEGER, Variable

Kind = Literal[
    "binary", "categorical", "integer", "real", "timestamp", "image", "sequence"
]

IN_SUPPORT, MISSING, UNSEEN, OUT_OF_RANGE = range(4)
"""Codes of the reasons why a cell is out of the support of the training rows."""

REGULAR = "regular"
SPECIALS = ("missing", "nan", "+inf", "-inf")
"""Names of the states of a cell that holds no regular value, in their order."""


@dataclass(frozen=True)
class Coded:
    """A column as its variables see it.

    Attributes:
        x: (n, variables) float32; NaN where absent.
        out_of_support: (n,) int8: IN_SUPPORT, MISSING, UNSEEN or OUT_OF_RANGE.
        log_slope: (n,) float64, log |dz/dx| of reals (0 in other states), or None.
    """

    x: np.ndarray
    out_of_support: np.ndarray
    log_slope: np.ndarray | None = None


@dataclass(frozen=True)
class Column:
    """One modelled column.

    Attributes:
        name: Its name in the table.
        kind: What it is modelled as.
        type: Its Arrow type in the training rows, as text.
        rows: Number of training rows, from which the mass out of support follows.
        variables: Its variables; `parent` counts from the first of them.
    """

    name: str
    kind: Kind
    type: str
    rows: int
    variables: tuple[Variable, ...]

    form: ClassVar[str]

    @property
    def out_of_support_mass(self) -> float:
        """Probability of all that never occurred in training."""
        return 1 / (self.rows + 2)

    @property
    def value(self) -> int:
        """Place of the main value variable among the column's own."""
        return 1 if len(self.variables) > 1 and self.variables[1].parent == 0 else 0

    @property
    def specials_seen(self) -> tuple[str, ...]:
        """What stood in training rows besides values, such as missing and nan."""
        raise NotImplementedError

    @property
    def mean_log_slopes(self) -> tuple[float, ...]:
        """What each variable adds to `Coded.log_slope` on average, where present."""
        return (0.0,) * len(self.variables)

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        """The column's part of `x`; `type` is the Arrow type it was trained with."""
        raise NotImplementedError

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        """The array of `type` that `x` (n, variables) stands for; null where absent."""
        raise NotImplementedError

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        """What values of the main value variable stand for."""
        raise NotImplementedError

    def labels(self, type: pa.DataType) -> list[str]:
        """Readable names of the codes of the first variable; [] if it has none."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict from which `encoder.column_from_dict` makes an equal one."""
        return {"form": self.form, **asdict(self)}


@dataclass(frozen=True)
class CodeColumn(Column):
    """A binary or categorical column: one variable, one code per known value.

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
        """The code of a special value, or -1 if it never occurred."""
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
            codes = _lookup(np.array([float(v) for v in self.values]), cell.values)
            codes = np.where(np.isnan(cell.values), self.code("nan"), codes)
        else:
            cell = arrow.integers(array, type)
            codes = _lookup(np.array(self.values, np.int64), cell.values)
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
        """Which cells hold a value that is not known to have occurred, (n,)."""
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
        """Codes of words: those of the few distinct words, spread over the rows."""
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
        """Values of codes; beyond the specials follow the remembered rare values."""
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
        return [str(v) for v in array.to_pylist()] + list(self.specials)


def _words(values: tuple[str, ...], family: str) -> pa.Array:
    """Text, or bytes that are kept as hexadecimal digits."""
    if family == "text":
        return pa.array(values, pa.large_string())
    return pa.array([bytes.fromhex(v) for v in values], pa.large_binary())


def _lookup(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Places of `values` in `known`, -1 where they are not in it."""
    if len(known) == 0:
        return np.full(len(values), -1)
    order = np.argsort(known, kind="stable")
    ranked = known[order]
    narrow = known.dtype == np.int64 and int(ranked[-1]) - int(ranked[0]) < 4096
    if narrow:
        # A table over the whole range is far quicker than a search.
        low, high = int(ranked[0]), int(ranked[-1])
        table = np.full(high - low + 1, -1)
        table[ranked - low] = order
        inside = (values >= low) & (values <= high)
        if inside.all():
            places: np.ndarray = table[values - low]
            return places
        return np.where(inside, table[np.clip(values, low, high) - low], -1)
    place = np.minimum(np.searchsorted(ranked, values), len(ranked) - 1)
    return np.where(ranked[place] == values, order[place], -1)


@dataclass(frozen=True)
class NumberColumn(Column):
    """Integers, and what counts like them: dates, decimals, timestamps, whole floats.

    A value becomes (value - offset) / step, which is split into digits: the lowest has
    the last of `radices`, the first variable what remains above all digits. So wide
    integers are digits of base 65536, and a timestamp is day, hour, minute and second.

    Attributes:
        states: Names of the codes of the state variable, () if there is none.
        offset: Subtracted first, in the type's units.
        step: The type's units in one unit of the lowest digit.
        radices: Sizes of the digits after the first.
    """

    states: tuple[str, ...] = ()
    offset: int = 0
    step: int = 1
    radices: tuple[int, ...] = ()

    form: ClassVar[str] = "number"

    @property
    def specials_seen(self) -> tuple[str, ...]:
        return self.states

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        cell = arrow.integers(array, type)
        digits, top, off = self._digits(cell.values)
        first = self.variables[self.value]
        low, high = bounds(first)
        outside = (top < low) | (top > high) | off
        states = None
        if cell.off is not None:
            outside |= cell.off
        if arrow.family(type) == "real" and cell.off is not None:
            states = _states(arrow.reals(array).values)
        out_of_support = np.where(outside, OUT_OF_RANGE, IN_SUPPORT).astype(np.int8)
        x = np.empty((len(top), len(self.variables)), np.float32)
        x[:, self.value] = top
        for place, digit in enumerate(digits):
            x[:, self.value + 1 + place] = digit
        regular = place_states(x, out_of_support, states, cell.missing, self.states)
        if regular is not None:
            x[~regular, self.value :] = np.nan
        x[out_of_support != IN_SUPPORT] = np.nan
        return Coded(x, out_of_support)

    def _digits(
        self, values: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | bool]:
        """Lower digits, highest first; the first variable; and what is off step."""
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
        if not self.states or arrow.family(type) != "real":
            return arrow.from_integers(values, absent if absent.any() else None, type)
        codes = np.nan_to_num(x[:, 0], nan=1).astype(np.int64)
        reals = np.where(absent, 0.0, values.astype(np.float64))
        null = fill_states(reals, codes, np.isnan(x[:, 0]), self.states)
        return arrow.from_reals(reals, null if null.any() else None, type)

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        absent = np.isnan(values)
        whole = np.where(absent, 0, np.rint(values)).astype(np.int64)
        whole = whole * math.prod(self.radices) * self.step + self.offset
        return arrow.from_integers(whole, absent if absent.any() else None, type)

    def labels(self, type: pa.DataType) -> list[str]:
        return list(self.states)


def bounds(variable: Variable) -> tuple[float, float]:
    """Least and greatest integer that a variable may hold."""
    if variable.kind == "categorical":
        return 0, variable.size - 1
    low = -MAX_INTEGER if variable.lower is None else variable.lower
    high = MAX_INTEGER if variable.upper is None else variable.upper
    return low, high


@dataclass(frozen=True)
class RealColumn(Column):
    """A real column: states and atoms first, then a nearly normal score.

    Attributes:
        states: Names of the codes of the state variable before the atoms.
        atoms: Values that have codes of their own after those, ascending.
        knots: Values at which the transform to scores bends, ascending.
        scores: Scores at the knots.
    """

    states: tuple[str, ...] = ()
    atoms: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    form: ClassVar[str] = "real"

    @property
    def specials_seen(self) -> tuple[str, ...]:
        return self.states

    @cached_property
    def transform(self) -> NormalScores:
        """The map from values to scores."""
        return NormalScores(self.knots, self.scores)

    @property
    def mean_log_slopes(self) -> tuple[float, ...]:
        return (0.0,) * self.value + (self.transform.mean_log_slope,)

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        cell = arrow.reals(array)
        states = _states(cell.values)
        values = cell.values
        if states is not None:
            values = np.where(states > 0, self.knots[0], values)
        z, log_slope = self.transform.forward(values)
        x = np.empty((len(z), len(self.variables)), np.float32)
        x[:, self.value] = z
        finite = np.isfinite(x[:, self.value])
        out_of_support = np.where(finite, IN_SUPPORT, OUT_OF_RANGE).astype(np.int8)
        if self.atoms:
            at = _lookup(np.array(self.atoms), cell.values)
            if states is None:
                states = np.zeros(len(z), np.int64)
            states = np.where(at >= 0, len(SPECIALS) + 1 + at, states)
        regular = place_states(
            x, out_of_support, states, cell.missing, self.states, len(self.atoms)
        )
        present = out_of_support == IN_SUPPORT
        if regular is not None:
            x[~regular, self.value :] = np.nan
            log_slope[~(regular & present)] = 0.0
        x[~present] = np.nan
        log_slope[~present] = 0.0
        return Coded(x, out_of_support, log_slope)

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        values = self.transform.inverse(x[:, self.value])
        if not self.states:
            null = np.isnan(values)
            return arrow.from_reals(values, null if null.any() else None, type)
        codes = np.nan_to_num(x[:, 0], nan=1).astype(np.int64)
        null = fill_states(values, codes, np.isnan(x[:, 0]), self.states)
        atoms = np.asarray(self.atoms)
        at = codes >= len(self.states)
        values[at] = atoms[codes[at] - len(self.states)]
        return arrow.from_reals(values, null if null.any() else None, type)

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        reals = self.transform.inverse(np.asarray(values, np.float64))
        null = np.isnan(reals)
        return arrow.from_reals(reals, null if null.any() else None, type)

    def labels(self, type: pa.DataType) -> list[str]:
        if not self.states:
            return []
        atoms = arrow.from_reals(np.asarray(self.atoms, float), None, type)
        return list(self.states) + [str(v) for v in atoms.to_pylist()]


def _states(values: np.ndarray) -> np.ndarray | None:
    """1 + the place in `SPECIALS` of NaN and infinities, else 0; None if all finite."""
    finite = np.isfinite(values)
    if finite.all():
        return None
    states = np.zeros(len(values), np.int64)
    states[np.isnan(values)] = 1 + SPECIALS.index("nan")
    states[values == np.inf] = 1 + SPECIALS.index("+inf")
    states[values == -np.inf] = 1 + SPECIALS.index("-inf")
    return states


def place_states(
    x: np.ndarray,
    out_of_support: np.ndarray,
    states: np.ndarray | None,
    missing: np.ndarray | None,
    names: tuple[str, ...],
    atoms: int = 0,
) -> np.ndarray | None:
    """Writes the codes of the state variable into `x` and why cells are out of support.

    Args:
        x: (n, variables), of which column 0 is the state if there are `names`.
        out_of_support: (n,), completed here; special states of training are in support.
        states: (n,) 0 regular, 1 + the place in `SPECIALS`, then the atoms; None: all
            regular.
        missing: (n,) true where null, or None.
        names: Names of the codes; () if the column has no state variable.
        atoms: Number of atoms.

    Returns:
        (n,) true where the state is regular, or None if it is everywhere.
    """
    if missing is not None:
        states = np.zeros(len(x), np.int64) if states is None else states
        states = np.where(missing, 1 + SPECIALS.index("missing"), states)
    if states is None:
        if names:
            x[:, 0] = 0
        return None
    table = np.array(
        [0]
        + [names.index(s) if s in names else -1 for s in SPECIALS]
        + list(range(len(names), len(names) + atoms))
    )
    codes = table[states]
    reasons = np.array(
        [IN_SUPPORT, MISSING, MISSING, UNSEEN, UNSEEN] + [IN_SUPPORT] * atoms, np.int8
    )
    special = states > 0
    out_of_support[special] = np.where(codes < 0, reasons[states], IN_SUPPORT)[special]
    if names:
        x[:, 0] = codes
    return ~special


def fill_states(
    values: np.ndarray,
    codes: np.ndarray,
    out_of_support: np.ndarray,
    names: tuple[str, ...],
) -> np.ndarray:
    """Writes NaN and infinities into `values` where `codes` say so; (n,) nulls."""
    filling = {"nan": np.nan, "+inf": np.inf, "-inf": -np.inf}
    for code, name in enumerate(names):
        if name in filling:
            values[codes == code] = filling[name]
    missing = codes == names.index("missing") if "missing" in names else False
    nulls: np.ndarray = out_of_support | missing
    return nulls

"""Number columns: integers, decimals, dates, times and timestamps."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.columns import Kind
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.number_column import bounds as representable_bounds
from ar_models.variables import MAX_INTEGER, Variable
from tasks.data.columns.intervals import divide
from tasks.data.columns.reals import FEATURE_KNOTS
from tasks.data.columns.sentinels import number_sentinels, without_values
from tasks.data.columns.states import smoothed_shares, state_variable
from tasks.data.columns.steps import divisor_of_reals, step_of
from tasks.data.counts import ApproximateCounts, EmpiricalDistribution, ExactCounts
from tasks.data.sketches import NumberSketch

MAX_ATOMS = 64
"""Number of atoms of an integer variable with many distinct values."""

FEW_VALUES = 256
"""Number of distinct integers up to which all that repeat are atoms."""

MIN_ATOM_ROWS = 5
"""Number of rows that such an atom occurs in."""

CODES_OF_TAG = {"hour": 24, "minute": 60, "second": 60}
"""Numbers of codes of the digits that are categorical."""


def number_column(
    name: str, type: pa.DataType, sketch: NumberSketch, *, nested: bool = True
) -> NumberColumn:
    """Return a column of integers, dates, times or timestamps, divided into digits.

    Args:
        name: Name of the column.
        type: Its Arrow type.
        sketch: Sketch of its training rows; reals must have a number of decimals.
        nested: Whether variables may be divided into intervals.
    """
    decimals = 0 if sketch.is_integer else sketch.decimals or 0
    if decimals:
        sketch = _in_units(sketch, decimals)
    sentinels = number_sentinels(sketch)
    names, state = state_variable(name, sketch, sentinels)
    sketch = without_values(sketch, list(sentinels))
    kind, offset, step, radices, tags = _digits(type, sketch)
    parent = None if state is None else 0
    given = _digit_distributions(sketch, offset, step, radices)
    variables = [] if state is None else [state]
    bounds = [_bounds(type, sketch, kind, offset, step, radices)]
    bounds += [(0, radix - 1) for radix in radices]
    for tag, values, (lower, upper) in zip(tags, given, bounds, strict=True):
        full = f"{name}.{tag}" if tag else name
        if tag in CODES_OF_TAG:
            variables.append(_code_variable(full, values, parent, CODES_OF_TAG[tag]))
        else:
            variable = integer_variable(full, values, parent, lower, upper)
            if nested and tag == "" and len(values.values) > FEW_VALUES:
                variable = divide(variable, values)
            variables.append(variable)
    return NumberColumn(
        name,
        "decimal" if decimals else kind,
        str(type),
        sketch.rows,
        tuple(variables),
        names,
        offset,
        step,
        radices,
        decimals,
        tuple(int(value) for value in sentinels),
    )


def _in_units(sketch: NumberSketch, decimals: int) -> NumberSketch:
    """Return the sketch of reals after multiplication by ten to the `decimals`."""
    factor = 10.0**decimals
    given = sketch.distribution()
    values, counts = given.values, given.counts
    if isinstance(sketch.counts, ApproximateCounts):
        values, counts = _with_frequent(sketch, values, counts)
    given = EmpiricalDistribution.of(np.rint(values * factor).astype(np.int64), counts)
    rows = np.maximum(np.rint(given.counts), 1).astype(np.int64)
    return replace(
        sketch,
        is_integer=True,
        is_whole=True,
        low=round(sketch.low * factor),
        high=round(sketch.high * factor),
        divisor=divisor_of_reals(sketch),
        counts=ExactCounts(pa.array(given.values), rows),
    )


def _code_variable(
    name: str, given: EmpiricalDistribution, parent: int | None, codes: int
) -> Variable:
    counts = np.bincount(given.values, given.counts, minlength=codes)
    shares = smoothed_shares(counts.tolist())
    return Variable(
        name, "categorical", 0, size=codes, parent=parent, frequencies=shares
    )


def integer_variable(
    name: str,
    given: EmpiricalDistribution,
    parent: int | None,
    lower: float | None,
    upper: float | None,
) -> Variable:
    """Return an integer variable whose atoms, scale and knots fit a distribution.

    Args:
        name: Name of the variable.
        given: Distribution of its values in the training rows.
        parent: Index of its state variable, if any.
        lower: Smallest possible value, if any.
        upper: Largest possible value, if any.
    """
    total = float(given.counts.sum())
    if len(given.values) <= FEW_VALUES:
        # A value seen once or twice says that others like it will come.
        atoms = np.flatnonzero(given.counts >= MIN_ATOM_ROWS).tolist()
    else:
        order = np.lexsort((given.values, -given.counts))[:MAX_ATOMS]
        atoms = sorted(i for i in order if given.counts[i] > 0.005 * total)
    at = given.counts[atoms]
    shares = smoothed_shares([*at.tolist(), max(0.0, total - float(at.sum()))])
    variable = Variable(
        name,
        "integer",
        0,
        parent=parent,
        location=float(given.quantile(0.5)),
        scale=robust_spread(given),
        lower=lower,
        upper=upper,
        atoms=tuple(float(v) for v in given.values[atoms]),
        frequencies=shares,
        knots=tuple(sorted(float(knot) for knot in quantile_knots(given))),
    )
    low, high = representable_bounds(variable)
    assert low <= given.values[0] and given.values[-1] <= high
    return variable


def quantile_knots(given: EmpiricalDistribution) -> set[Any]:  # int or float
    """Return quantiles; if few values hold most rows, also those of the others."""
    knots = {given.quantile((i + 0.5) / FEATURE_KNOTS) for i in range(FEATURE_KNOTS)}
    seldom = given.counts < given.counts.sum() / FEATURE_KNOTS
    if seldom.any():
        others = EmpiricalDistribution(given.values[seldom], given.counts[seldom])
        more = FEATURE_KNOTS - len(knots)
        knots |= {others.quantile((i + 0.5) / more) for i in range(more)}
    return knots


def robust_spread(given: EmpiricalDistribution) -> float:
    """Return a robust standard deviation of a distribution, at least a half."""
    for tail, normal in ((0.25, 1.349), (0.1, 2.563), (0.01, 4.653)):
        width = (given.quantile(1 - tail) - given.quantile(tail)) / normal
        if width > 0:
            return max(0.5, float(width))
    mean = np.average(given.values, weights=given.counts)
    variance = np.average((given.values - mean) ** 2, weights=given.counts)
    return max(0.5, float(np.sqrt(variance)))


def _digits(
    type: pa.DataType, sketch: NumberSketch
) -> tuple[Kind, int, int, tuple[int, ...], list[str]]:
    """Return kind, offset, step, radices and variable names of a number column.

    Integers that are too large for one variable have digits to the base 65,536.
    """
    family = arrow.family(type)
    if family in ("time", "timestamp"):
        return _clock(type, sketch)
    zero = -(2**63) if pa.types.is_uint64(arrow.plain(type)) else 0
    if sketch.low is None:
        return "integer", zero, 1, (), [""]
    low, high = int(sketch.low) - zero, int(sketch.high) - zero
    half = MAX_INTEGER // 2
    step = 1
    if family in ("integer", "real", "decimal"):
        step = step_of(sketch.divisor, sketch.distinct)
    if max(abs(low), abs(high)) <= half * step and not zero:
        return "integer", 0, step, (), [""]
    if max(abs(low), abs(high)) <= half:
        return "integer", zero, 1, (), [""]
    if high - low <= half:
        return "integer", int(sketch.low), 1, (), [""]
    if high >= 2**63:
        zero, low, high = 0, low - 2**63, high - 2**63
    count = 1
    while max(abs(low), abs(high)) >> (16 * count) > half:
        count += 1
    tags = ["high", *(f"digit{i}" for i in range(count - 1, -1, -1))]
    return "integer", zero, 1, (1 << 16,) * count, tags


def _clock(
    type: pa.DataType, sketch: NumberSketch
) -> tuple[Kind, int, int, tuple[int, ...], list[str]]:
    """Return what `_digits` does for times and timestamps.

    Digits are day, hour, minute, second and thousandths, down to the smallest that is
    not 0 in every training row.
    """
    per_second = arrow.TICKS[arrow.plain(type).unit]
    levels = [("hour", 24), ("minute", 60), ("second", 60)]
    for tag in ("ms", "us", "ns")[: round(math.log10(per_second)) // 3]:
        levels.append((tag, 1000))
    step = 1
    while levels and sketch.divisor % (step * levels[-1][1]) == 0:
        step *= levels.pop()[1]
        if arrow.family(type) == "time" and len(levels) == 1:
            break
    tags, radices = [tag for tag, _ in levels], [size for _, size in levels]
    if arrow.family(type) == "time":
        return "timestamp", 0, step, tuple(radices[1:]), tags
    return "timestamp", 0, step, tuple(radices), ["day", *tags]


def _digit_distributions(
    sketch: NumberSketch, offset: int, step: int, radices: tuple[int, ...]
) -> list[EmpiricalDistribution]:
    """Return the distribution of the first variable and of each digit."""
    if sketch.low is None:
        empty = EmpiricalDistribution(np.zeros(1, np.int64), np.ones(1))
        return [empty] * (1 + len(radices))
    exact = isinstance(sketch.counts, ExactCounts)
    if exact or not radices:
        given = sketch.distribution()
        values, counts = given.values.astype(np.int64), given.counts
    else:
        assert isinstance(sketch.counts, ApproximateCounts)
        values = sketch.counts.sample.astype(np.int64)
        counts = sketch.counts.sample_counts
    if not exact:
        values, counts = _with_frequent(sketch, values, counts)
    rest = (values - offset) // step
    found = []
    for radix in reversed(radices):
        found.append(EmpiricalDistribution.of(rest % radix, counts))
        rest = rest // radix
    return [EmpiricalDistribution.of(rest, counts), *found[::-1]]


def _with_frequent(
    sketch: NumberSketch, values: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a sample of values with the frequent ones at their true weights."""
    top = sketch.frequent_values(0.002, 4 * MAX_ATOMS)
    known = np.array(list(top), values.dtype)
    weights = np.array(list(top.values()), np.float64)
    loose = ~np.isin(values, known)
    scale = max(0.0, sketch.regular - weights.sum()) / max(1.0, counts[loose].sum())
    return (
        np.concatenate([known, values[loose]]),
        np.concatenate([weights, counts[loose] * scale]),
    )


def _bounds(
    type: pa.DataType,
    sketch: NumberSketch,
    kind: Kind,
    offset: int,
    step: int,
    radices: tuple[int, ...],
) -> tuple[float | None, float | None]:
    """Return bounds of the first variable that follow from the type or the sign."""
    family, inner = arrow.family(type), arrow.plain(type)
    least = most = None
    if family == "integer":
        zero = 2**63 if pa.types.is_uint64(inner) else 0
        info = np.iinfo(inner.to_pandas_dtype())
        least, most = int(info.min) - zero, int(info.max) - zero
    elif family == "decimal":
        most = 10**inner.precision - 1
        least = -most
    elif family == "bool":
        least, most = 0, 1
    unit = math.prod(radices) * step
    lower = None if least is None else (least - offset) // unit
    upper = None if most is None else (most - offset) // unit
    zero = -(2**63) if pa.types.is_uint64(inner) else 0
    signless = kind == "integer" and family != "date" and offset == zero
    if signless and sketch.low is not None and int(sketch.low) >= zero:
        lower = 0
    if lower is not None and lower < -MAX_INTEGER:
        lower = None
    if upper is not None and upper > MAX_INTEGER:
        upper = None
    return lower, upper

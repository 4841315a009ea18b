"""Products, ratios and percentages of numbers, rounded to their grid."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ar_models.tables.formulas.arithmetic import Factor, ProductFormula
from tasks.data.constraints.candidate import Candidate, best_rounding, first_found
from tasks.data.constraints.linear import complete_rows
from tasks.data.constraints.regression import Fit, exact_fits
from tasks.data.constraints.sample import Sample, SampledColumn
from tasks.data.constraints.simple_numbers import CHECKED_ROWS, HALF, simplify, window

MAX_FACTORS = 3
"""Maximum number of factors of a product."""

MAX_SUM_COLUMNS = 14
"""Number of columns up to which factors may be sums of two of them."""

MIN_POSITIVE = 0.3
"""Share of the rows in which a factor is positive, at least."""

MIN_SPAN = 12
"""Number of steps between the small and the large values of a product."""

MIN_AGREEING = 0.5
"""Share of the rows that agree with a first fit, at least."""

POWERS = (-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)
"""Exponents of factors."""


@dataclass(frozen=True)
class Feature:
    """A positive quantity that may be a factor.

    Attributes:
        factor: The quantity as a factor of power 1.
        values: (n,) its values.
    """

    factor: Factor
    values: np.ndarray

    @property
    def columns(self) -> set[str]:
        """Names of its columns."""
        return {name for name, _ in self.factor.terms}


def products(sample: Sample, known: Collection[str] = ()) -> Iterator[Candidate]:
    """Find columns that are products of powers of others, rounded to their grid.

    Args:
        sample: The sample.
        known: Columns whose exact formula is known already.
    """
    columns = sample.summands()
    features = _features(columns)
    for target in columns:
        if target.name in known or target.distinct < MIN_SPAN:
            continue
        yield from _products_of(sample, target, columns, features)


def _features(columns: list[SampledColumn]) -> list[Feature]:
    """Return columns, their complements to 1 and 100, and sums of two as factors."""
    found = [Feature(Factor(((c.name, 1.0),)), c.numbers) for c in columns]
    for column in columns:
        values = column.numbers[~column.missing]
        if values.min() >= 0 and column.decimals != 0 and values.max() <= 1:
            base = 1.0
        elif values.min() >= 0 and 1 < values.max() <= 100:
            base = 100.0
        else:
            continue
        for sign in (-1.0, 1.0):
            factor = Factor(((column.name, sign),), 1.0, base)
            found.append(Feature(factor, base + sign * column.numbers))
    if len(columns) <= MAX_SUM_COLUMNS:
        for i, a in enumerate(columns):
            for b in columns[i + 1 :]:
                for sign in (1.0, -1.0):
                    terms = ((a.name, 1.0), (b.name, sign))
                    values = a.numbers + sign * b.numbers
                    if sign < 0 and np.nanmedian(values) < 0:
                        terms, values = ((b.name, 1.0), (a.name, -1.0)), -values
                    found.append(Feature(Factor(terms), values))
    with np.errstate(invalid="ignore"):
        return [f for f in found if (f.values > 0).mean() >= MIN_POSITIVE]


def _products_of(
    sample: Sample,
    target: SampledColumn,
    columns: list[SampledColumn],
    features: list[Feature],
) -> Iterator[Candidate]:
    y = target.numbers
    with np.errstate(invalid="ignore"):
        positive = y > 0
    if positive.mean() < MIN_POSITIVE:
        return
    # Large values are rounded least, in proportion.
    large = positive & (y >= np.median(y[positive]))
    if target.step and np.median(y[large]) < MIN_SPAN * target.step:
        return
    taken = complete_rows(target, [c for c in columns if c is not target], large)
    if taken is None:
        return
    rows, kept = taken
    names = {c.name for c in kept}
    usable = [f for f in features if f.columns <= names]
    x = np.stack([f.values[rows] for f in usable], axis=1)
    with np.errstate(invalid="ignore"):
        often = (x > 0).mean(axis=0) >= 0.9
    usable = [f for f, good in zip(usable, often, strict=True) if good]
    if not usable:
        return
    x = x[:, often]
    complete = (x > 0).all(axis=1)
    if complete.sum() < 50:
        return
    logs, log_y = np.log(x[complete]), np.log(y[rows[complete]])
    tolerance = target.step / y[rows[complete]]
    fits = exact_fits(logs, log_y, tolerance, most=MAX_FACTORS, least=MIN_AGREEING)
    yield from first_found(fits, partial(_candidate_of_fit, sample, target, usable))


def _candidate_of_fit(
    sample: Sample, target: SampledColumn, features: list[Feature], fit: Fit
) -> Candidate | None:
    """Return the exact candidate that a fit of logarithms stands for, or None."""
    powers = [_nearest_power(c) for c in fit.coefficients]
    if powers == [1.0]:
        return None  # a linear formula
    factors = tuple(
        replace(features[j].factor, power=power)
        for j, power in zip(fit.features, powers, strict=True)
        if power is not None
    )
    return _candidate(sample, target, factors) if None not in powers else None


def _nearest_power(value: float) -> float | None:
    """Return the exponent that a fitted one stands for, or None."""
    nearest = min(POWERS, key=lambda power: abs(power - value))
    return nearest if abs(nearest - value) <= 0.06 * max(1.0, abs(value)) else None


def _candidate(
    sample: Sample, target: SampledColumn, factors: tuple[Factor, ...]
) -> Candidate | None:
    """Return the candidate of a product with a simple constant, if it is exact."""
    formula = ProductFormula(factors, 1.0, target.decimals)
    size = np.ones(sample.rows)
    own = {name: sample.columns[name].array for name in formula.columns}
    for factor in factors:
        size = factor.multiply(size, own)
    y = target.numbers
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero((size > 0) & (y > 0))
    inside = inside[:: max(1, len(inside) // CHECKED_ROWS)]
    if len(inside) < 50:
        return None
    half = (target.step or 2e-9 * y[inside]) * HALF
    ratio = y[inside] / size[inside]
    low, high, _ = window(ratio, 2 * half / size[inside])

    def share(constants: np.ndarray) -> float:
        return float((np.abs(y[inside] - constants[0] * size[inside]) <= half).mean())

    middle = np.array([(low + high) / 2])
    constant = float(simplify(middle, share)[0])
    formula = replace(formula, constant=constant)
    return best_rounding(sample, target.name, formula)

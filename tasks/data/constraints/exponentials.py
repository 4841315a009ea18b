"""Log-linear formulas: a constant times the exponential of a sum of columns."""

from collections.abc import Collection, Iterator
from functools import partial

import numpy as np

from ar_models.tables.formulas.arithmetic import ExponentialFormula
from tasks.data.constraints.candidate import Candidate, best_rounding, first_found
from tasks.data.constraints.linear import complete_rows
from tasks.data.constraints.regression import Fit, exact_fits
from tasks.data.constraints.sample import Sample, SampledColumn
from tasks.data.constraints.simple_numbers import CHECKED_ROWS, HALF, simplify, window

MAX_TERMS = 2
"""Maximum number of columns in the exponent."""

MIN_SPAN = 100.0
"""Ratio of a large to a small value of such a column: a narrow range looks linear."""

MIN_AGREEING = 0.9
"""Share of the rows that agree with a first fit, at least."""


def exponentials(sample: Sample, known: Collection[str] = ()) -> Iterator[Candidate]:
    """Find columns whose logarithm is linear in one or two other columns.

    Args:
        sample: The sample.
        known: Columns whose exact formula is known already.
    """
    columns = sample.summands()
    for target in columns:
        y = target.numbers[~target.missing]
        if target.name in known or target.distinct < MIN_SPAN or y.min() <= 0:
            continue
        low, high = np.quantile(y, [0.05, 0.95])
        if high >= MIN_SPAN * low:
            yield from _of_target(sample, target, columns)


def _of_target(
    sample: Sample, target: SampledColumn, columns: list[SampledColumn]
) -> Iterator[Candidate]:
    others = [c for c in columns if c is not target]
    # Large values are rounded least, in proportion.
    large = target.numbers >= np.nanmedian(target.numbers)
    taken = complete_rows(target, others, large)
    if taken is None:
        return
    rows, kept = taken
    x = np.stack([c.numbers[rows] for c in kept], axis=1)
    y = target.numbers[rows]
    tolerance = target.step / y if target.step else np.full(len(y), 2e-9)
    fits = exact_fits(x, np.log(y), tolerance, most=MAX_TERMS, least=MIN_AGREEING)
    yield from first_found(fits, partial(_candidate, sample, target, kept))


def _candidate(
    sample: Sample, target: SampledColumn, columns: list[SampledColumn], fit: Fit
) -> Candidate | None:
    """Return the candidate of a fit with simple constants, if it is exact."""
    named = [columns[j] for j in fit.features]
    x = np.stack([c.numbers for c in named], axis=1)
    y = target.numbers
    inside = np.flatnonzero(~np.isnan(y) & ~np.isnan(x).any(axis=1))
    inside = inside[np.argsort(-y[inside], kind="stable")]
    inside = inside[: max(50, len(inside) // 2)][:CHECKED_ROWS]
    logs = np.log(y[inside])
    width = target.step / y[inside] if target.step else np.full(len(inside), 2e-9)

    def share(coefficients: np.ndarray) -> float:
        return window(logs - x[inside] @ coefficients, width)[2]

    coefficients = simplify(fit.coefficients, share)
    low, high, _ = window(logs - x[inside] @ coefficients, width)
    powers = np.exp(x[inside] @ coefficients)
    half = HALF * width * y[inside]

    def share_of_constant(constants: np.ndarray) -> float:
        return float((np.abs(y[inside] - constants[0] * powers) <= half).mean())

    middle = np.array([np.exp((low + high) / 2)])
    constant = float(simplify(middle, share_of_constant)[0])
    terms = tuple((c.name, float(v)) for c, v in zip(named, coefficients, strict=True))
    formula = ExponentialFormula(terms, constant, target.decimals)
    return best_rounding(sample, target.name, formula)

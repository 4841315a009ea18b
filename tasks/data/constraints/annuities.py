"""Instalments of loans that follow from amount, interest rate and term."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.annuity import AnnuityFormula, terms
from ar_models.tables.formulas.numbers import numbers
from tasks.data.constraints.candidate import Candidate, best_rounding
from tasks.data.constraints.sample import Sample, SampledColumn

SCREENED_ROWS = 300
"""Number of rows in which instalments are compared first."""

CLOSE = 1e-3
"""Relative difference of instalments that are compared in all rows."""

MAX_TERMS = 60
"""Maximum number of distinct terms of loans."""

PERIODS = ((1200.0, 1.0), (100.0, 1.0), (12.0, 1.0), (1.0, 1.0), (1200.0, 12.0))
"""Divisors of interest rates, and payments in a unit of the term, that are tried."""


def annuities(sample: Sample, known: Collection[str] = ()) -> Iterator[Candidate]:
    """Find columns that are the instalment of an amount, a rate and a term.

    Args:
        sample: The sample.
        known: Columns whose exact formula is known already.
    """
    spans = [c for c in sample.columns.values() if _is_term(c)]
    rates = [c for c in sample.summands() if _is_rate(c)]
    amounts = [c for c in sample.summands() if c.distinct >= 20 and _is_positive(c)]
    targets = [c for c in amounts if c.name not in known]
    if not (spans and rates and targets):
        return
    cells = np.stack([c.numbers[:SCREENED_ROWS] for c in targets])
    for amount, rate, span, period in product(amounts, rates, spans, PERIODS):
        if len({amount.name, rate.name, span.name}) < 3:
            continue
        formula = AnnuityFormula(
            amount.name, rate.name, period[0], span.name, period[1]
        )
        given = _values(sample, formula)
        with np.errstate(invalid="ignore"):
            close = np.abs(cells - given) <= CLOSE * np.abs(given)
        for at in np.flatnonzero(close.mean(axis=1) > 0.5):
            target = targets[at]
            if target.name not in formula.columns:
                rounded = replace(formula, decimals=target.decimals)
                best = best_rounding(sample, target.name, rounded)
                if best is not None:
                    yield best


def _values(sample: Sample, formula: AnnuityFormula) -> np.ndarray:
    """Return the unrounded instalments of the first rows."""
    head = {
        name: sample.columns[name].array.slice(0, SCREENED_ROWS)
        for name in formula.columns
    }
    return numbers(formula.evaluate(head, pa.float64()))


def _is_term(column: SampledColumn) -> bool:
    """Return whether a column holds a few positive numbers, or texts with them."""
    if column.distinct > MAX_TERMS or not (column.is_text or column.is_plain_number):
        return False
    held = terms(column.array.slice(0, SCREENED_ROWS))
    known = held[~np.isnan(held)]
    return len(known) > SCREENED_ROWS / 2 and known.min() >= 1 and known.max() <= 600


def _is_rate(column: SampledColumn) -> bool:
    """Return whether a column may hold interest rates."""
    values = column.numbers[~column.missing]
    return bool(values.min() >= 0 and np.median(values) > 0 and values.max() <= 100)


def _is_positive(column: SampledColumn) -> bool:
    """Return whether most numbers of a column are positive."""
    return bool(np.median(column.numbers[~column.missing]) > 0)

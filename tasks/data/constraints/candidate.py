"""Candidate constraints, and what each saves in a sample."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, get_args

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.annuity import AnnuityFormula
from ar_models.tables.formulas.arithmetic import (
    ExponentialFormula,
    LinearFormula,
    ProductFormula,
)
from ar_models.tables.formulas.choices import Rounding
from ar_models.tables.formulas.formula import Formula, matches
from ar_models.tables.formulas.numbers import numbers
from tasks.data.constraints.regression import Fit
from tasks.data.constraints.sample import Sample, SampledColumn

ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
"""Roundings that the search tries for a formula, the preferred ones first."""

EXACT_SHARE = 0.98
"""Share of the rows in which a constraint holds, unless it is a partial copy."""

EXACT_SHARE_FEW = 0.985
"""The same for columns of a few values, which other columns may explain nearly."""

EXACT_SHARE_TWO = 0.998
"""The same for columns of two values."""

FEW_NATS = 1.5
"""Code length of a column, in nats, up to which it counts as one of a few values."""

MIN_GAIN = 0.02
"""Nats per row that a constraint saves at least."""

MIN_SUPPORT = 30
"""Rows that hold another value than the most frequent one and satisfy a constraint."""

MIN_DISTINCT = 50
"""Number of distinct values from which a match in some rows is not a coincidence."""

FREQUENT = 0.01
"""Share of the rows with a value from which it is frequent: agreement tells little."""

MIN_PARTIAL = 0.04
"""Share of the rows that hold no frequent value and that a formula gives, though it is
not a constraint, at least."""

MIN_PARTIAL_GAIN = 0.1
"""Nats per row that such a formula saves at least."""

MIN_ROUNDED = 0.25
"""Share of the rows that a formula of rounded numbers gives exactly, at least."""

PEAK = 3.0
"""Minimum ratio of the cells that such a formula gives exactly to those that are one
step of the grid above, or below."""

MIN_ROUNDED_GAIN = 0.5
"""Nats per row that such a formula saves at least."""

RoundedT = TypeVar(
    "RoundedT", LinearFormula, ProductFormula, ExponentialFormula, AnnuityFormula
)


@dataclass(frozen=True)
class Candidate:
    """A formula for a column, and the rows of the sample in which it holds.

    Attributes:
        column: Name of the derived column.
        formula: The formula.
        matched: (n,) true where the formula gives the cell.
        defined: (n,) true where the formula has a value.
        gain: Nats per row that are saved over the column's own frequencies.
        beside: Share of the rows that hold the next number of the grid instead.
    """

    column: str
    formula: Formula
    matched: np.ndarray
    defined: np.ndarray
    gain: float
    beside: float = 0.0

    @property
    def rate(self) -> float:
        """Share of the rows in which it holds, of those where it is defined."""
        return float(self.matched.sum() / max(1, self.defined.sum()))

    @property
    def relation(self) -> frozenset[str]:
        """Names of all columns that the constraint is about."""
        return frozenset({self.column, *self.formula.columns})


def evaluate(sample: Sample, column: str, formula: Formula) -> Candidate:
    """Return the candidate of a formula for a column.

    Args:
        sample: The sample.
        column: Name of the derived column.
        formula: The formula.
    """
    target = sample.columns[column]
    cells = {name: sample.columns[name].array for name in formula.columns}
    values = formula.evaluate(cells, target.type)
    matched = matches(formula, values, target.array)
    defined = np.asarray(values.is_valid()) | matched
    gain = gain_of(matched, target)
    beside = _share_beside(values, target) if target.is_plain_number else 0.0
    return Candidate(column, formula, matched, defined, gain, beside)


def _share_beside(values: pa.Array, column: SampledColumn) -> float:
    """Return the share of cells that are the next or the last number of the grid."""
    if not column.step:
        return 0.0
    away = np.rint((column.numbers - numbers(values)) / column.step)
    return float(max((away == 1).mean(), (away == -1).mean()))


def gain_of(matched: np.ndarray, column: SampledColumn) -> float:
    """Return the nats per row that a candidate value with a gate saves.

    The gate's probability g maximises the likelihood of the mixture of the candidate
    and the column's own frequencies p, so a candidate that agrees by chance saves
    nothing: the mean of log(g / p + 1 - g) over matches and log(1 - g) elsewhere.

    Args:
        matched: (n,) true where the candidate is the cell's value.
        column: The derived column.
    """
    share = np.exp(-column.surprisal[matched])
    n, hits = len(matched), len(share)
    if hits == 0:
        return 0.0
    gate = hits / n
    for _ in range(20):
        gate = float((gate / (gate + (1 - gate) * share)).sum() / n)
    gate = min(gate, 1 - 0.5 / n)
    saved = np.log(gate / share + 1 - gate).sum() + (n - hits) * np.log1p(-gate)
    return float(saved / n)


def is_exact(candidate: Candidate, column: SampledColumn) -> bool:
    """Return whether a candidate holds so often that it is a constraint.

    The rate is judged once more without the rows that hold the column's most frequent
    value as the formula says, so that a column which is mostly zero satisfies no
    formula by being zero.

    Args:
        candidate: The candidate.
        column: Its derived column.
    """
    few = len(column.counts) <= 8 or column.entropy <= FEW_NATS
    least = EXACT_SHARE_FEW if few else EXACT_SHARE
    least = EXACT_SHARE_TWO if column.distinct <= 2 else least
    other = candidate.defined & ~(column.is_mode & candidate.matched)
    support = int((candidate.matched & other).sum())
    if support < MIN_SUPPORT or candidate.gain < MIN_GAIN:
        return False
    return candidate.rate >= least and support >= least * other.sum()


def is_partial(candidate: Candidate, column: SampledColumn) -> bool:
    """Return whether a candidate explains many rows though it is not a constraint.

    Args:
        candidate: The candidate.
        column: Its derived column.
    """
    seldom = column.surprisal >= -np.log(FREQUENT)
    return (
        column.distinct >= MIN_DISTINCT
        and candidate.gain >= MIN_PARTIAL_GAIN
        and float((candidate.matched & seldom).mean()) >= MIN_PARTIAL
    )


def is_worth_having(candidate: Candidate, column: SampledColumn) -> bool:
    """Return whether a formula is a constraint, or gives many cells exactly.

    Args:
        candidate: The candidate.
        column: Its derived column.
    """
    if is_exact(candidate, column):
        return True
    often = candidate.rate >= MIN_ROUNDED and candidate.gain >= MIN_ROUNDED_GAIN
    if not often or candidate.rate < PEAK * candidate.beside:
        return False  # the values of a mere approximation are as often one step away
    return is_partial(candidate, column)


def best_rounding(
    sample: Sample,
    column: str,
    formula: RoundedT,
    roundings: Sequence[Rounding] = ROUNDINGS,
) -> Candidate | None:
    """Return the candidate with the rounding that most cells agree with.

    Args:
        sample: The sample.
        column: Name of the derived column.
        formula: The formula.
        roundings: Roundings to try, in the order of preference.

    Returns:
        The candidate, or None if it is not worth having.
    """
    best: Candidate | None = None
    for rounding in roundings:
        candidate = evaluate(sample, column, replace(formula, rounding=rounding))
        if best is None or candidate.rate > best.rate:
            best = candidate
        if best.rate == 1 or not sample.columns[column].step:
            break
    assert best is not None
    return best if is_worth_having(best, sample.columns[column]) else None


def first_found(
    fits: Iterable[Sequence[Fit]], make: Callable[[Fit], Candidate | None]
) -> list[Candidate]:
    """Return the candidates of the smallest formulas of which there are any.

    Args:
        fits: Fits by the number of their features.
        make: Returns the candidate of a fit, or None.
    """
    for group in fits:
        found = [candidate for candidate in map(make, group) if candidate is not None]
        if found:
            return found
    return []

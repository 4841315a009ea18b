"""Sums, differences and other linear formulas, also with a constant by category."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.arithmetic import LinearFormula
from ar_models.tables.formulas.keys import Key, keys_of
from ar_models.tables.formulas.numbers import numbers
from tasks.data.constraints.candidate import (
    ROUNDINGS,
    Candidate,
    best_rounding,
    evaluate,
)
from tasks.data.constraints.regression import Fit, exact_fits
from tasks.data.constraints.sample import Sample, SampledColumn
from tasks.data.constraints.simple_numbers import (
    CHECKED_ROWS,
    HALF,
    TOLERATED,
    simplest_between,
    simplify,
    window,
)

FIT_ROWS = 400
"""Number of rows that formulas are fitted to."""

MAX_TERMS = 5
"""Maximum number of columns in a sum."""

MAX_MULTIPLIED = 16
"""Number of columns up to which products of two are tried as terms."""

MAX_CATEGORIES = 50
"""Maximum number of categories with a constant of their own."""

MAX_CATEGORY_COLUMNS = 10
"""Number of columns that are tried as categories."""

MIN_CORRELATION = 0.5
"""Share of the variance that columns explain before a category is tried."""

MIN_AGREEING = 0.9
"""Share of the rows that agree with a first fit, at least."""

ENOUGH = 0.998
"""Rate of a formula from which no formula of more columns is looked for."""

MIN_COMPLETED = 10
"""Exceptions of a formula from which a further term is looked for in them."""

MIN_DEFINED = 0.5
"""Share of the rows with a value in which a formula is defined, at least."""


@dataclass(frozen=True)
class ProductTerm:
    """The product of two columns as a term of a sum.

    Attributes:
        name: Its name, for messages.
        parts: Names of the two columns.
        numbers: (n,) its values, NaN where missing.
        missing: (n,) true where one of them is missing.
    """

    name: str
    parts: tuple[str, str]
    numbers: np.ndarray
    missing: np.ndarray

    @cached_property
    def has_gaps(self) -> bool:
        """Whether any value is missing."""
        return bool(self.missing.any())


Term = SampledColumn | ProductTerm
TermT = TypeVar("TermT", SampledColumn, Term)


@dataclass(frozen=True)
class LinearSearch:
    """A search for linear formulas in a sample.

    Attributes:
        sample: The sample.
        columns: Columns of numbers and moments, which may be terms.
    """

    sample: Sample
    columns: list[SampledColumn]

    @classmethod
    def of(cls, sample: Sample) -> "LinearSearch":
        """Return the search in a sample."""
        known = sample.columns.values()
        times = [c for c in known if c.family in ("date", "timestamp", "duration")]
        return cls(sample, sample.summands(2) + [c for c in times if c.distinct > 2])

    def products(self, excluded: Collection[str]) -> list[Term]:
        """Return the products of two of the columns, if these are few."""
        factors = [c for c in self.sample.summands() if c.name not in excluded]
        if len(factors) > MAX_MULTIPLIED:
            return []
        return [
            ProductTerm(
                f"{a.name} * {b.name}",
                (a.name, b.name),
                a.numbers * b.numbers,
                a.missing | b.missing,
            )
            for i, a in enumerate(factors)
            for b in factors[i + 1 :]
        ]


def linear_formulas(
    sample: Sample,
    known: Collection[str] = (),
    equal: Collection[frozenset[str]] = (),
    *,
    multiplied: bool = False,
) -> Iterator[Candidate]:
    """Find columns that are linear combinations of others, rounded to their grid.

    Args:
        sample: The sample.
        known: Columns whose exact formula is known already.
        equal: Pairs of columns that are equal, of which no formula is wanted.
        multiplied: Whether terms are products of two columns as well.
    """
    search = LinearSearch.of(sample)
    for target in search.columns:
        if target.name in known or target.distinct < 4:
            continue
        excluded = {target.name}
        for pair in equal:
            excluded |= pair if target.name in pair else set()
        for _ in range(2):
            found = list(_formulas_of(search, target, excluded, multiplied))
            yield from found
            # A multiple of the column hides the other formulas.
            single = [c for c in found if len(c.formula.columns) == 1]
            if not single:
                break
            excluded |= {name for c in single for name in c.formula.columns}


def _formulas_of(
    search: LinearSearch, target: SampledColumn, excluded: set[str], multiplied: bool
) -> Iterator[Candidate]:
    terms: list[Term] = [c for c in search.columns if c.name not in excluded]
    if multiplied:
        products = [] if target.is_moment else search.products(excluded)
        if not products:
            return
        terms += products
    everywhere = np.ones(search.sample.rows, bool)
    found = list(_in_rows(search, target, terms, everywhere, None))
    if found:
        yield from found
        return
    categories = [
        c
        for c in search.sample.categories(MAX_CATEGORIES)
        if c.name not in excluded and not c.is_moment
    ]
    if target.is_moment or not categories or not _is_explained(search, target, terms):
        return
    categories.sort(key=lambda c: (not c.is_text, c.distinct))
    for category in categories[:MAX_CATEGORY_COLUMNS]:
        rest = [c for c in terms if category.name not in _names(c)]
        found = list(_in_rows(search, target, rest, category.is_mode, category))
        if found:
            yield max(found, key=lambda c: c.gain)


def _names(term: Term) -> tuple[str, ...]:
    """Return the names of the columns of a term."""
    return term.parts if isinstance(term, ProductTerm) else (term.name,)


def _is_explained(
    search: LinearSearch, target: SampledColumn, terms: list[Term]
) -> bool:
    """Return whether the terms explain much of the variance of the target."""
    taken = complete_rows(target, terms, np.ones(search.sample.rows, bool))
    if taken is None:
        return False
    rows, kept = taken
    x = np.stack([c.numbers[rows] for c in kept], axis=1)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-300)
    y = target.numbers[rows]
    y = y - y.mean()
    # As many columns as rows would explain everything.
    strongest = np.argsort(-np.abs(y @ x), kind="stable")[: len(rows) // 6]
    x = x[:, strongest]
    rest = y - x @ np.linalg.lstsq(x, y, rcond=1e-8)[0]
    return bool(rest @ rest < (1 - MIN_CORRELATION) * (y @ y))


def complete_rows(
    target: SampledColumn, terms: Sequence[TermT], mask: np.ndarray
) -> tuple[np.ndarray, list[TermT]] | None:
    """Return rows without nulls in the target and the terms, and the terms kept.

    Terms that are mostly null are dropped; then those that are null most often, until
    enough rows are left.

    Args:
        target: The derived column.
        terms: Columns that may be terms.
        mask: (n,) rows to choose from.
    """
    present = mask & ~target.missing
    if present.sum() < 50:
        return None
    gaps = {
        c.name: float(c.missing[present].mean()) if c.has_gaps else 0.0 for c in terms
    }
    kept = sorted(
        (c for c in terms if gaps[c.name] < 0.5), key=lambda c: (gaps[c.name], c.name)
    )
    while kept:
        complete = present.copy()
        for column in kept:
            if column.has_gaps:
                complete &= ~column.missing
        rows = np.flatnonzero(complete)
        if len(rows) >= 50:
            step = max(1, len(rows) // FIT_ROWS)
            return rows[::step][:FIT_ROWS], kept
        kept = kept[: len(kept) * 3 // 4]
    return None


def _in_rows(
    search: LinearSearch,
    target: SampledColumn,
    terms: list[Term],
    mask: np.ndarray,
    category: SampledColumn | None,
) -> Iterator[Candidate]:
    """Find formulas that hold in some rows: those of the first category, or all."""
    taken = complete_rows(target, terms, mask)
    if taken is None:
        return
    rows, kept = taken
    x = np.stack([c.numbers[rows] for c in kept], axis=1)
    y = target.numbers[rows]
    tolerance = np.full(len(rows), target.step)
    for fits in exact_fits(x, y, tolerance, most=MAX_TERMS, least=MIN_AGREEING):
        found = []
        for fit in fits:
            columns = [kept[j] for j in fit.features]
            candidate = _candidate(search.sample, target, columns, fit, mask, category)
            if candidate is not None:
                found.append(_completed(search.sample, target, candidate, kept))
        yield from found
        # A multiple of the column may hide a sum that it is as well.
        size = max((len(c.formula.columns) for c in found), default=0)
        if size > 1 and max(c.rate for c in found) >= ENOUGH:
            return


def _candidate(
    sample: Sample,
    target: SampledColumn,
    columns: list[Term],
    fit: Fit,
    mask: np.ndarray,
    category: SampledColumn | None,
) -> Candidate | None:
    """Return the candidate of a fit with simple coefficients, if it is exact."""
    x = np.stack([c.numbers for c in columns], axis=1)
    y = target.numbers
    inside = np.flatnonzero(mask & ~np.isnan(y) & ~np.isnan(x).any(axis=1))
    inside = inside[:: max(1, len(inside) // CHECKED_ROWS)]
    width = target.step or 2e-9 * np.abs(y[inside])
    # The origin of dates is far away: without it small errors of slopes do not matter.
    origin = np.median(x[inside], axis=0)

    def share(coefficients: np.ndarray) -> float:
        return window(y[inside] - (x[inside] - origin) @ coefficients, width)[2]

    def share_without_constant(coefficients: np.ndarray) -> float:
        rest = np.abs(y[inside] - x[inside] @ coefficients)
        return float((rest <= np.asarray(width) * HALF).mean())

    coefficients = simplify(fit.coefficients, share)
    if category is None:
        through_zero = _through_zero(x[inside], y[inside], coefficients, width)
        plain = simplify(through_zero, share_without_constant)
        if share_without_constant(plain) >= share(coefficients) - TOLERATED:
            coefficients = plain
    matters = np.abs(coefficients) * np.ptp(x[inside], axis=0) > 1e-3 * np.min(width)
    pairs = [
        (c, float(v))
        for c, v, m in zip(columns, coefficients, matters, strict=True)
        if m
    ]
    if not pairs:
        return None
    formula = LinearFormula(
        tuple((c.name, v) for c, v in pairs if isinstance(c, SampledColumn)),
        decimals=target.decimals,
        products=tuple((c.parts, v) for c, v in pairs if isinstance(c, ProductTerm)),
    )
    rest = y - x @ coefficients
    if category is None:
        formula = _with_constant(formula, rest[inside], width, target)
    else:
        formula = category_constants(formula, rest, target, category)
    return _rounded(sample, target, formula)


def _completed(
    sample: Sample, target: SampledColumn, candidate: Candidate, terms: list[Term]
) -> Candidate:
    """Add columns that are zero in most rows and explain the exceptions of a formula.

    Least squares in a few hundred rows miss them.

    Args:
        sample: The sample.
        target: The derived column.
        candidate: A formula that holds in most rows.
        terms: Columns that may be added or subtracted.
    """
    while candidate.rate < ENOUGH:
        formula = candidate.formula
        assert isinstance(formula, LinearFormula)
        wrong = np.flatnonzero(candidate.defined & ~candidate.matched & ~target.missing)
        wrong = wrong[:CHECKED_ROWS]
        size = len(formula.terms) + len(formula.products)
        if len(wrong) < MIN_COMPLETED or size >= MAX_TERMS:
            break
        exact = replace(formula, decimals=None)
        cells = {n: sample.columns[n].array.take(wrong) for n in formula.columns}
        rest = target.numbers[wrong] - numbers(exact.evaluate(cells, pa.float64()))
        width = (target.step or 2e-9 * np.abs(target.numbers[wrong])) * HALF
        best, most = candidate, 0.5
        for term in terms:
            if isinstance(term, ProductTerm) or term.name in formula.columns:
                continue
            for sign in (1.0, -1.0):
                share = np.mean(np.abs(rest - sign * term.numbers[wrong]) <= width)
                if share > most:
                    longer = (*formula.terms, (term.name, sign))
                    found = evaluate(
                        sample, target.name, replace(formula, terms=longer)
                    )
                    if found.rate > best.rate:
                        best, most = found, float(share)
        if best is candidate:
            break
        candidate = best
    return candidate


def _through_zero(
    x: np.ndarray, y: np.ndarray, coefficients: np.ndarray, width: np.ndarray | float
) -> np.ndarray:
    """Return the coefficients of a fit without constant to the agreeing rows."""
    rest = y - x @ coefficients
    near = np.abs(rest - np.median(rest)) <= 2 * np.asarray(width)
    if near.sum() <= x.shape[1]:
        return coefficients
    solved: np.ndarray = np.linalg.lstsq(x[near], y[near], rcond=None)[0]
    return solved


def _with_constant(
    formula: LinearFormula,
    rest: np.ndarray,
    width: np.ndarray | float,
    target: SampledColumn,
) -> LinearFormula:
    """Return a formula with the simplest constant with which most rows agree."""
    low, high, share = window(rest, width)
    constant = simplest_between(low, high)
    if (np.abs(rest) <= np.asarray(width) * HALF).mean() >= share - TOLERATED:
        return formula
    if not target.step or (constant == round(constant, target.decimals or 0)):
        return replace(formula, constant=constant)
    # Rounding down is the same as rounding to the nearest with another constant.
    shift = target.step / 2
    down = simplest_between(low + shift, high + shift)
    if len(repr(down)) < len(repr(constant)) - 2:
        return replace(formula, constant=down, rounding="floor")
    return replace(formula, constant=constant)


def category_constants(
    formula: LinearFormula,
    rest: np.ndarray,
    target: SampledColumn,
    category: SampledColumn,
) -> LinearFormula:
    """Return a formula with the constant of each category whose rows agree in one.

    Args:
        formula: The formula without them.
        rest: (n,) cells of the target minus the unrounded values of the formula.
        target: The derived column.
        category: The column that selects the constant.
    """
    found: list[tuple[Key, float]] = []
    for code in range(len(category.counts)):
        rows = np.flatnonzero((category.codes == code) & ~np.isnan(rest))
        if len(rows) < 2:
            continue
        width = target.step or 2e-9 * np.abs(target.numbers[rows])
        low, high, share = window(rest[rows], width)
        if share >= 0.5 and share * len(rows) >= 2:
            key = keys_of(category.array.slice(int(rows[0]), 1))[0]
            found.append((key, simplest_between(low, high)))
    return replace(formula, category=category.name, category_constants=tuple(found))


def _rounded(
    sample: Sample, target: SampledColumn, formula: LinearFormula
) -> Candidate | None:
    """Return the candidate of a formula, if it is defined in enough rows."""
    # The constant of a formula that rounds down fits no other rounding.
    roundings = ("floor",) if formula.rounding == "floor" else ROUNDINGS
    best = best_rounding(sample, target.name, formula, roundings)
    present = (~target.missing).mean()
    if best is None or best.defined.mean() < MIN_DEFINED * present:
        return None
    return best

"""Choice of the constraints that a model uses: one per relation, without cycles.

Each step takes the constraint that saves most, measured by the code length of its
column. So of a total and its parts the total is derived, of two clock times and a delay
a clock time: what is smooth and short to describe stays primary.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from ar_models.tables.formulas.arithmetic import (
    ExponentialFormula,
    LinearFormula,
    ProductFormula,
)
from ar_models.tables.formulas.formula import Formula
from ar_models.tables.formulas.lookup_formula import LookupFormula
from tasks.data.constraints.candidate import (
    Candidate,
    gain_of,
    is_exact,
    is_partial,
)
from tasks.data.constraints.sample import Sample
from tasks.data.constraints.simple_numbers import digits_of

MAX_CANDIDATES = 3
"""Maximum number of formulas of one column."""

REMAINING = 0.005
"""Share of the rows without a match, from which further formulas are added."""

MIN_FURTHER_GAIN = 0.05
"""Nats per row that a further formula saves at least."""

EQUAL_GAIN = 0.1
"""Nats per row up to which constraints save about the same."""

EQUAL_RATE = 0.0003
"""Share of the rows up to which constraints hold about as often."""

KINDS = (
    "equality",
    "date_part",
    "quotient",
    "remainder",
    "prefix",
    "linear",
    "clock",
    "product",
    "annuity",
    "exponential",
    "lookup",
)
"""Kinds of formulas, in the order in which equally good ones are preferred."""


def select(
    candidates: Iterable[Candidate],
    sample: Sample,
    given: Mapping[str, Sequence[Formula]],
) -> dict[str, tuple[Candidate, ...]]:
    """Choose formulas for columns so that no column depends on itself.

    Args:
        candidates: All that were found.
        sample: The sample that they were found in.
        given: Formulas that are used in any case.

    Returns:
        The formulas of each derived column, in the order in which they are tried.
    """
    pool = list(candidates)
    chosen: dict[str, tuple[Candidate, ...]] = {}
    used = {
        frozenset({column, *formula.columns})
        for column, formulas in given.items()
        for formula in formulas
    }
    parents = {
        column: {name for formula in formulas for name in formula.columns}
        for column, formulas in given.items()
    }

    def is_usable(candidate: Candidate) -> bool:
        if candidate.relation in used:
            return False
        return not _is_cyclic(candidate, parents)

    while True:
        left = [c for c in pool if c.column not in chosen and is_usable(c)]
        if not left:
            break
        best = _preferred(left, parents, sample)
        chosen[best.column] = (best,)
        parents[best.column] = set(best.formula.columns)
        used.add(best.relation)
    for column in list(chosen):
        for _ in range(MAX_CANDIDATES - 1):
            further = _further(column, pool, chosen[column], is_usable, sample)
            if further is None:
                break
            chosen[column] = (*chosen[column], further)
            parents[column] |= set(further.formula.columns)
            used.add(further.relation)
    return chosen


def _preferred(
    left: Sequence[Candidate], chosen: Collection[str], sample: Sample
) -> Candidate:
    """Return the constraint to be chosen next.

    Of those that save about as much as the best one, it has the simplest constants, and
    of these it holds in the most rows.

    Args:
        left: Candidates that may be chosen.
        chosen: Columns that are derived already.
        sample: The sample.
    """
    exact = [c for c in left if is_exact(c, sample.columns[c.column])]
    pool = exact or left
    margin = EQUAL_GAIN if exact else 0.0
    most = max(c.gain for c in pool)
    pool = [c for c in pool if c.gain >= most - margin]
    least = min(_digits(c.formula) for c in pool)
    pool = [c for c in pool if _digits(c.formula) == least]
    highest = max(float(c.matched.mean()) for c in pool)
    pool = [c for c in pool if c.matched.mean() >= highest - EQUAL_RATE]
    names = list(sample.columns)

    def order(candidate: Candidate) -> tuple[int, int, int, int, float, int]:
        parents = candidate.formula.columns
        return (
            sum(parent in chosen for parent in parents),
            KINDS.index(candidate.formula.kind),
            len(parents),
            _keys(candidate.formula),
            -float(candidate.defined.mean()),
            -names.index(candidate.column),
        )

    return min(pool, key=order)


def _digits(formula: Formula) -> int:
    """Return the digits of the constants of a formula, beyond those of simple ones."""
    if isinstance(formula, LinearFormula):
        values = [c for _, c in (*formula.terms, *formula.products)]
        return sum(map(digits_of, [*values, formula.constant]))
    if isinstance(formula, ExponentialFormula):
        return sum(digits_of(c) for _, c in formula.terms) + digits_of(formula.constant)
    return digits_of(formula.constant) if isinstance(formula, ProductFormula) else 0


def _keys(formula: Formula) -> int:
    """Return the number of entries of a lookup table, 0 for other formulas."""
    return len(formula.keys) if isinstance(formula, LookupFormula) else 0


def _is_cyclic(candidate: Candidate, parents: Mapping[str, Collection[str]]) -> bool:
    """Return whether a column would depend on itself."""
    return candidate.column in ancestors(candidate.formula.columns, parents)


def ancestors(
    columns: Collection[str], parents: Mapping[str, Collection[str]]
) -> set[str]:
    """Return some columns and all those that they are derived from.

    Args:
        columns: Names of the columns.
        parents: The columns that each derived column is computed from.
    """
    ahead, seen = list(columns), set[str]()
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += parents.get(name, ())
    return seen


def _further(
    column: str,
    pool: Sequence[Candidate],
    chosen: Sequence[Candidate],
    usable: Callable[[Candidate], bool],
    sample: Sample,
) -> Candidate | None:
    """Return the formula that explains most of the rows that are left, if any."""
    target = sample.columns[column]
    left = ~np.any([c.matched for c in chosen], axis=0)
    if left.mean() < REMAINING:
        return None
    found = [
        (gain_of(c.matched & left, target), c)
        for c in pool
        if c.column == column and is_partial(c, target) and usable(c)
    ]
    gain, best = max(found, key=lambda pair: pair[0], default=(0.0, None))
    return best if gain >= MIN_FURTHER_GAIN else None

"""Discovery of the constraints of a table in a sample of its training rows."""

from collections.abc import Collection

from ar_models.tables.formulas.formula import Formula
from tasks.data.constraints.annuities import annuities
from tasks.data.constraints.candidate import Candidate
from tasks.data.constraints.clocks import clock_times
from tasks.data.constraints.date_parts import date_parts
from tasks.data.constraints.dependencies import dependencies
from tasks.data.constraints.divisions import divisions
from tasks.data.constraints.equalities import equalities
from tasks.data.constraints.exponentials import exponentials
from tasks.data.constraints.linear import linear_formulas
from tasks.data.constraints.prefixes import prefixes
from tasks.data.constraints.products import products
from tasks.data.constraints.sample import Sample
from tasks.data.constraints.selection import select

MIN_ROWS = 200
"""Number of rows below which no constraint is looked for."""

KNOWN_RATE = 0.999
"""Rate from which a column needs no other kind of formula."""

MAX_UNDEFINED = 0.5
"""Share of the rows in which such a formula may be undefined, as by nulls."""

Formulas = dict[str, tuple[Formula, ...]]
"""Formulas by derived column, in the order in which they are tried."""


def discover(
    sample: Sample, given: Formulas | None = None, ignored: Collection[str] = ()
) -> Formulas:
    """Find the constraints of a table.

    Args:
        sample: A sample of the training rows.
        given: Formulas that are certain, which the found ones must not contradict.
        ignored: Columns for which no formula is wanted.
    """
    given = given or {}
    if sample.rows < MIN_ROWS or _is_of_flags(sample):
        return dict(given)
    wanted = [c for c in find_all(sample) if c.column not in {*ignored, *given}]
    chosen = select(wanted, sample, given)
    return {**given, **{n: tuple(c.formula for c in cs) for n, cs in chosen.items()}}


def _is_of_flags(sample: Sample) -> bool:
    """Return whether all columns have two values at most, as bits or pixels do.

    Rare flags agree by chance, and a network learns what holds between flags.
    """
    return all(column.distinct <= 2 for column in sample.columns.values())


def find_all(sample: Sample) -> list[Candidate]:
    """Return all candidates, of every kind."""
    found = list(equalities(sample))
    equal = {c.relation for c in found if c.rate >= KNOWN_RATE}
    found += prefixes(sample)
    found += date_parts(sample)
    found += divisions(sample)
    found += clock_times(sample)
    found += linear_formulas(sample, _known(found, "equality", "clock"), equal)
    found += products(sample, _known(found))
    found += annuities(sample, _known(found))
    found += exponentials(sample, _known(found))
    # Many products of two columns are terms: other formulas are more likely.
    rounded = {c.column for c in found if c.formula.kind in ("product", "annuity")}
    done = _known(found, "equality", "linear") | rounded
    found += linear_formulas(sample, done, equal, multiplied=True)
    found += dependencies(sample, _known(found))
    return found


def _known(found: list[Candidate], *without: str) -> set[str]:
    """Return the columns for which a formula holds in nearly all rows.

    Args:
        found: The candidates.
        without: Kinds of formulas that do not count.
    """
    return {
        c.column
        for c in found
        if c.rate >= KNOWN_RATE
        and c.defined.mean() >= KNOWN_RATE * (1 - MAX_UNDEFINED)
        and c.formula.kind not in without
    }

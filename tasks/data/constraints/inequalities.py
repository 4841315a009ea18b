"""Inequalities between columns: which of two numbers, dates or times is the greater.

The name is that of the Synthetic Data Vault's constraint. Of all pairs of comparable
columns those are kept of which nearly all rows hold them in one order, while cells of
different rows would often be in the other one.
"""

import datetime
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.formulas.formula import Formula
from ar_models.tables.formulas.numbers import numbers
from ar_models.tables.inequality import Inequality, comparable_kind
from tasks.config.constraints import COMPARISONS, ConstraintConfig
from tasks.data.columns.ranges import moment_units
from tasks.data.constraints.candidate import EXACT_SHARE, evaluate
from tasks.data.constraints.sample import Sample, SampledColumn
from tasks.data.constraints.selection import ancestors

MAX_VIOLATED = 0.001
"""Share of the rows that violate an inequality, at most."""

MIN_CHANCE = 0.02
"""Share of pairs of cells from different rows that violate it, at least; otherwise the
ranges of the columns nearly imply it."""

MIN_EXPECTED = 20
"""Number of such pairs that violate it, at least, with one pair per row."""

MIN_DISTINCT = 3
"""Number of distinct values of a compared column, at least."""

MAX_INEQUALITIES = 20
"""Maximum number of inequalities that are found. Samples that violate one are drawn
again, which takes longer the more there are."""

SCREENED = 2000
"""Number of rows in which all pairs of columns are compared first."""

MIN_HELD = 0.5
"""Share of the rows that satisfy a configured inequality, at least."""

Pair = tuple[str, str]


def find_inequalities(
    sample: Sample,
    formulas: Mapping[str, Sequence[Formula]],
    given: Sequence[Inequality] = (),
    ignored: Collection[str] = (),
) -> list[Inequality]:
    """Find inequalities between columns that say more than their ranges do.

    An inequality that follows from two others is left out, and so is one between a
    column and a formula that computes with it.

    Args:
        sample: A sample of the training rows.
        formulas: The constraints that are formulas, by derived column.
        given: Inequalities that are used in any case.
        ignored: Columns and inequalities for which none is wanted; an inequality
            belongs to its lesser column.
    """
    found: dict[Pair, float] = {}
    for columns in _comparable(sample):
        found |= _ordered_pairs(columns)
    parents = _parents(sample, formulas)
    struck = {"".join(text.split()) for text in ignored}
    taken = {frozenset(each.columns) for each in given}
    wanted: dict[Pair, float] = {}
    for (low, high), chance in found.items():
        if any((low, via) in found and (via, high) in found for via in sample.columns):
            continue
        if low in ancestors([high], parents) or high in ancestors([low], parents):
            continue
        texts = (low, f"{low}<={high}", f"{high}>={low}")
        if frozenset((low, high)) in taken or struck & set(map(_compact, texts)):
            continue
        wanted[low, high] = chance
    names = list(sample.columns)
    best = sorted(wanted, key=lambda pair: -wanted[pair])[:MAX_INEQUALITIES]
    best.sort(key=lambda pair: [names.index(name) for name in pair])
    return [Inequality(low, "<=", high) for low, high in best]


def _compact(text: str) -> str:
    """Return a text without spaces."""
    return "".join(text.split())


def _comparable(sample: Sample) -> Iterator[list[SampledColumn]]:
    """Yield the groups of columns that may be compared with each other."""
    groups: dict[str, list[SampledColumn]] = {}
    for column in sample.columns.values():
        kind = comparable_kind(column.type)
        if kind is not None and column.distinct >= MIN_DISTINCT:
            groups.setdefault(kind, []).append(column)
    yield from groups.values()


def _ordered_pairs(columns: Sequence[SampledColumn]) -> dict[Pair, float]:
    """Return the pairs of columns of which the first seldom exceeds the second.

    Args:
        columns: Columns of one kind.

    Returns:
        For each pair, the share of cells from different rows that violate the order.
    """
    values = np.stack([column.numbers for column in columns], axis=1)
    first = values[:SCREENED]
    found = {}
    for a, column in enumerate(columns):
        both = ~np.isnan(first[:, a : a + 1]) & ~np.isnan(first)
        with np.errstate(invalid="ignore"):
            above = (first[:, a : a + 1] > first).sum(axis=0)
            below = (first[:, a : a + 1] < first).sum(axis=0)
        few = above <= np.maximum(10 * MAX_VIOLATED * both.sum(axis=0), 1)
        for b in np.flatnonzero(few & (below > above)).tolist():
            chance = _chance(values[:, a], values[:, b])
            if chance:
                found[column.name, columns[b].name] = chance
    return found


def _chance(low: np.ndarray, high: np.ndarray) -> float:
    """Return how often an inequality of two columns would be violated by chance.

    Args:
        low: The column that is seldom the greater, (n,).
        high: The other one, (n,).

    Returns:
        A share of pairs of cells, 0 if the inequality does not hold or says nothing.
    """
    known = ~np.isnan(low) & ~np.isnan(high)
    low, high = low[known], high[known]
    rows = len(low)
    if not rows or (low > high).sum() > MAX_VIOLATED * rows:
        return 0.0
    smaller = np.searchsorted(np.sort(high), low, side="left")
    chance = float(smaller.mean() / rows)
    return chance if chance >= max(MIN_CHANCE, MIN_EXPECTED / rows) else 0.0


def _parents(
    sample: Sample, formulas: Mapping[str, Sequence[Formula]]
) -> dict[str, set[str]]:
    """Return the columns that nearly all cells of each derived column follow from."""
    found = {}
    for column, tried in formulas.items():
        if evaluate(sample, column, tried[0]).matched.mean() >= EXACT_SHARE:
            found[column] = set(tried[0].columns)
    return found


def configured_inequalities(
    constraints: Iterable[ConstraintConfig], sample: Sample
) -> list[Inequality]:
    """Return the inequalities that a configuration lists.

    Args:
        constraints: The constraints that are inequalities.
        sample: A sample of the training rows.

    Raises:
        ValueError: An inequality names a column that is not modelled, compares what
            cannot be compared, or does not hold in most rows.
    """
    return [_configured(constraint, sample) for constraint in constraints]


def _configured(constraint: ConstraintConfig, sample: Sample) -> Inequality:
    key, side = constraint.comparison, constraint.side
    assert key is not None
    for name in (constraint.column, *constraint.parents):
        if name not in sample.columns:
            raise ValueError(
                f"data.constraints: {name!r}, which an inequality of "
                f"{constraint.column!r} names, is not modelled, or holds lists or "
                "images; leave the constraint out"
            )
    column = sample.columns[constraint.column]
    if isinstance(side, str):
        types = column.type, sample.columns[side].type
        kinds = [comparable_kind(type) for type in types]
        if None in kinds or kinds[0] != kinds[1]:
            raise ValueError(
                f"data.constraints: {column.name!r} ({types[0]}) and {side!r} "
                f"({types[1]}) cannot be compared; compare two columns of numbers, or "
                "of dates, timestamps, times or durations"
            )
        inequality = Inequality(column.name, COMPARISONS[key], side)
    else:
        constant = _constant(column, key, side)
        inequality = Inequality(
            column.name, COMPARISONS[key], constant=constant, text=str(side)
        )
    known = int(inequality.known(sample.cells).sum())
    held = known - int(inequality.violated(sample.cells).sum())
    if held < MIN_HELD * known or not known:
        raise ValueError(
            f"data.constraints: {inequality.describe()} holds in {held:,} of {known:,} "
            "training rows only; check the sides, or leave the constraint out"
        )
    return inequality


def _constant(column: SampledColumn, key: str, side: object) -> float:
    """Return a constant as the number that cells of a column are compared with.

    Raises:
        ValueError: The column holds values of another kind.
    """
    is_moment = isinstance(side, datetime.date)
    fits = is_moment if column.is_moment else column.is_plain_number and not is_moment
    if not fits:
        wanted = "a column of this type"
        if column.is_moment or column.is_plain_number:
            wanted += " or a date" if column.is_moment else " or a number"
        raise ValueError(
            f"data.constraints: {key} of {column.name!r} ({column.type}) is {side!s}; "
            f"give {wanted}"
        )
    if not isinstance(side, datetime.date):
        assert isinstance(side, int | float)
        return float(side)
    units = moment_units(side, column.type, is_last=key in ("at_most", "above"))
    cell = arrow.from_integers(np.array([units]), None, arrow.plain(column.type))
    return float(numbers(pa.array(cell))[0])

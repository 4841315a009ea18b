"""The profile of a dataset: what profile.json says of each column.

Findings about columns that are more than the inferred kind belong here, beside
`describe_column`: it is what later runs, pages and `chainrule init` read.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.columns import Column
from ar_models.tables.formulas.formula import Formula
from ar_models.tables.inequality import Inequality
from ar_models.tables.left_out import LeftOut
from ar_models.tables.list_column import ListColumn
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.real_column import RealColumn
from tasks.data.constraints.verification import Tally
from tasks.data.counts import EmpiricalDistribution
from tasks.data.sketches import ListSketch, NumberSketch, Sketch, WordSketch

MAX_TOP = 50
"""Number of the most frequent values of a column of words in the profile."""

SHARES = 64
"""Number of shares of rows at which the profile gives a column's distribution."""

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
"""Quantiles of a column of numbers in the profile, besides both ends."""


def describe_column(
    sketch: Sketch, outcome: Column | LeftOut, type: pa.DataType
) -> dict[str, Any]:  # JSON-able values
    """Return a column's entry in profile.json.

    Args:
        sketch: Sketch of the training rows.
        outcome: The column that was inferred, or why it is left out.
        type: Arrow type of the column.
    """
    entry: dict[str, Any] = {
        "name": outcome.name,
        "type": str(type),
        "kind": outcome.kind if isinstance(outcome, Column) else "left out",
        "reason": reason_of(sketch, outcome),
        "rows": sketch.rows,
        "missing": sketch.missing,
        "distinct": sketch.distinct,
    }
    if isinstance(sketch, WordSketch):
        return entry | _describe_words(sketch)
    if isinstance(sketch, ListSketch):
        low, high = sketch.lengths.low, sketch.lengths.high
        return entry if low is None else {**entry, "lengths": [low, high]}
    return entry | _describe_numbers(sketch, type)


def describe_constraint(
    column: str, formula: Formula, tally: Tally, number: int
) -> dict[str, Any]:  # JSON values
    """Return the entry of a constraint in profile.json.

    It holds the column, the formula as text, the kind and the columns of the formula,
    the number of training rows in which the formula has a value, and in how many of
    them it does not hold.

    Args:
        column: The derived column.
        formula: The formula.
        tally: In how many training rows the formulas of the column hold.
        number: Index of the formula among them.
    """
    rows = tally.rows - tally.undefined[number]
    return {
        "column": column,
        "formula": formula.describe(),
        "kind": formula.kind,
        "columns": list(formula.columns),
        "rows": rows,
        "exceptions": rows - tally.held[number],
    }


def describe_inequality(inequality: Inequality) -> dict[str, Any]:  # JSON values
    """Return the entry of an inequality among the constraints in profile.json.

    It has the key `relation`, the comparison, which is = in all others.

    Args:
        inequality: The inequality, with its counts.
    """
    return {
        "column": inequality.column,
        "relation": inequality.operator,
        "formula": inequality.right,
        "kind": "inequality",
        "columns": list(inequality.columns),
        "rows": inequality.rows,
        "exceptions": inequality.violations,
    }


def constraint_text(entry: Mapping[str, Any]) -> str:  # JSON values
    """Return a constraint of profile.json in words, with its exceptions.

    Args:
        entry: The entry of the constraint.
    """
    rows, exceptions = entry["rows"], entry["exceptions"]
    noun = "exception" if exceptions == 1 else "exceptions"
    return (
        f"{entry['column']} {entry.get('relation', '=')} {entry['formula']}, "
        f"{constraint_share(entry)} "
        f"({exceptions:,} {noun} of {rows:,} rows)"
    )


def constraint_share(entry: Mapping[str, Any]) -> str:  # JSON values
    """Return the share of the rows in which a constraint of profile.json holds.

    It is rounded down, so that 100 % has no exception.

    Args:
        entry: The entry of the constraint.
    """
    rows = entry["rows"]
    share = 10_000 * (rows - entry["exceptions"]) // rows / 100
    return f"{share:g} %"


def _describe_words(sketch: WordSketch) -> dict[str, Any]:
    if sketch.counts is None:
        return {}
    counts = sketch.counts.counts
    order = np.lexsort((np.arange(len(counts)), -counts))[:MAX_TOP]
    top = sketch.counts.values.take(pa.array(order)).to_pylist()
    texts = [value if isinstance(value, str) else value.hex() for value in top]
    return {
        "top": [list(pair) for pair in zip(texts, counts[order].tolist(), strict=True)]
    }


def _describe_numbers(sketch: NumberSketch, type: pa.DataType) -> dict[str, Any]:
    entry: dict[str, Any] = {k: n for k, n in sketch.specials.items() if n}
    if sketch.low is None:
        return entry
    given = sketch.distribution()
    inner = {f"{share:g}": given.quantile(share) for share in QUANTILES}
    quantiles = {"0": sketch.low, **inner, "1": sketch.high}
    entry["quantiles"] = {k: _in_own_unit(v, type) for k, v in quantiles.items()}
    entry["distribution"] = cumulative_shares(given)
    return entry


def cumulative_shares(given: EmpiricalDistribution) -> list[list[float]]:
    """Return some values of a distribution with the share of rows up to each.

    From these pairs, in ascending order, Kolmogorov-Smirnov distances to another
    distribution are accurate to 1 / `SHARES`.
    """
    reached = np.cumsum(given.counts) / given.counts.sum()
    wanted = np.arange(1, SHARES + 1) / SHARES
    places = np.searchsorted(reached, wanted * (1 - 1e-12))
    kept = np.unique(np.minimum(places, len(reached) - 1))
    return [[given.values[k].item(), float(reached[k])] for k in kept]


def _in_own_unit(value: Any, type: pa.DataType) -> Any:  # a number of the sketch
    """Return a sketch's number in the unit of its column, such as a date as text."""
    if isinstance(value, float):
        return value
    array = arrow.from_integers(np.array([value], np.int64), None, arrow.plain(type))
    if arrow.family(type) in arrow.MOMENTS:
        return pc.cast(array, pa.string())[0].as_py()
    scalar = arrow.python_values(array)[0]
    return scalar if isinstance(scalar, int | float) else str(scalar)


def reason_of(sketch: Sketch, outcome: Column | LeftOut) -> str:
    """Return the reason for a column's kind as a phrase."""
    if isinstance(outcome, LeftOut):
        return outcome.reason
    if isinstance(outcome, ListColumn):
        span = f"{outcome.shortest} to {outcome.places}"
        return f"lists of {span if outcome.varies else outcome.places} places"
    count = sketch.distinct
    if outcome.kind == "binary":
        return "two values"
    if outcome.kind == "categorical":
        return "one value" if count == 1 else f"{count} values"
    if outcome.kind == "timestamp":
        parts = [v.name.rpartition(".")[2] for v in outcome.variables]
        return f"a date or time, with {', '.join(parts)}"
    if isinstance(outcome, RealColumn):
        atoms = f", {len(outcome.atoms)} of them repeated" if outcome.atoms else ""
        return f"{count} real values{atoms}"
    assert isinstance(outcome, NumberColumn)
    if outcome.decimals:
        return f"{count} values with up to {outcome.decimals} decimals"
    multiples = f", all multiples of {outcome.step}" if outcome.step > 1 else ""
    return f"{count} whole numbers{multiples}"

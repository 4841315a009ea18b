"""Columns of codes: binary and categorical columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.left_out import LeftOut
from ar_models.variables import Variable
from tasks.config.data import DataConfig
from tasks.data.columns.states import smoothed_shares
from tasks.data.counts import ExactCounts
from tasks.data.sketches import NumberSketch, WordSketch

UNIQUE_ROWS = 100
"""Number of distinct values from which a column without repetitions is an id."""

MAX_RARE = 1000
"""Number of rare categories whose counts a column stores."""


def word_column(
    name: str, type: pa.DataType, sketch: WordSketch, data: DataConfig, kind: str | None
) -> CodeColumn | LeftOut:
    """Return a column of text or bytes as categories, unless there are too many.

    Raises:
        ValueError: A kind is configured that the values do not fit.
    """
    is_unique = sketch.counts is not None and not sketch.repeats
    if kind is None and is_unique and sketch.regular >= UNIQUE_ROWS:
        return LeftOut(name, str(type), "a unique id: all values differ")
    counts = sketch.counts
    if counts is None or len(counts) > data.max_categories:
        given = f"more than {data.max_categories}" if counts is None else len(counts)
        reason = f"{given} distinct values exceed data.max_categories"
        if kind is None:
            return LeftOut(name, str(type), reason)
        raise ValueError(f"data.columns.{name}: {reason}; raise it or leave it out")
    known = counts.values.to_pylist()
    if arrow.family(type) == "bytes":
        known = [value.hex() for value in known]
    rows = dict(zip(known, counts.counts.tolist(), strict=True))
    tallies = {"missing": sketch.missing, "nan": 0}
    least = data.min_category_count
    return _code_column(name, type, sketch.rows, rows, tallies, least, kind)


def number_code_column(
    name: str,
    type: pa.DataType,
    sketch: NumberSketch,
    data: DataConfig,
    kind: str | None,
) -> CodeColumn | LeftOut:
    """Return a column of numbers as categories.

    Raises:
        ValueError: There are infinities or too many values.
    """
    counts = sketch.counts
    if sketch.specials["+inf"] or sketch.specials["-inf"]:
        raise ValueError(
            f"data.columns.{name}: kind {kind} does not fit a column with infinities; "
            "use real"
        )
    if not isinstance(counts, ExactCounts) or len(counts) > data.max_categories:
        raise ValueError(
            f"data.columns.{name}: kind {kind} does not fit a column with more than "
            f"{data.max_categories} values; raise data.max_categories"
        )
    values: list[Any] = counts.values.to_pylist()
    if arrow.family(type) == "real":
        values = [repr(float(value)) for value in values]
    rows = dict(zip(values, np.asarray(counts.counts).tolist(), strict=True))
    tallies = {"missing": sketch.missing, "nan": sketch.specials["nan"]}
    least = data.min_category_count if kind == "categorical" else 1
    return _code_column(name, type, sketch.rows, rows, tallies, least, kind)


def _code_column(
    name: str,
    type: pa.DataType,
    rows: int,
    counts: Mapping[Any, int],
    tallies: Mapping[str, int],
    least: int,
    kind: str | None,
) -> CodeColumn | LeftOut:
    """Return a column of codes.

    Args:
        name: Name of the column.
        type: Arrow type of the column.
        rows: Number of training rows.
        counts: Number of rows by value.
        tallies: Number of nulls (missing) and of NaNs (nan).
        least: Values with fewer rows are rare: they share one code.
        kind: Configured kind, if any.
    """

    def number(value: Any) -> Any:  # reals are stored as text
        return float(value) if arrow.family(type) == "real" else value

    nulls = tallies["missing"] + tallies["nan"]
    if len(counts) == 2 and not nulls and min(counts.values()) >= least:
        low, high = sorted(counts, key=number)
        total = counts[low] + counts[high]
        halves = (counts[low] / total, counts[high] / total)
        variable = Variable(name, "binary", 0, size=2, frequencies=halves)
        return CodeColumn(name, "binary", str(type), rows, (variable,), (low, high))
    if kind == "binary":
        raise ValueError(
            f"data.columns.{name}: kind binary does not fit a column with "
            f"{len(counts)} values and {nulls} nulls; use categorical"
        )
    order = sorted(counts, key=lambda v: (-counts[v], number(v)))
    common = [v for v in order if counts[v] >= least]
    rare = [v for v in order if counts[v] < least]
    if not common and rare:
        reason = f"no value occurs {least} times (data.min_category_count)"
        return LeftOut(name, str(type), reason)
    tallies = {**tallies, "rare": sum(counts[v] for v in rare)}
    specials = tuple(s for s, tally in tallies.items() if tally)
    shares = smoothed_shares(
        [counts[v] for v in common] + [tallies[s] for s in specials]
    )
    variable = Variable(name, "categorical", 0, size=len(shares), frequencies=shares)
    kept = rare[:MAX_RARE]
    return CodeColumn(
        name,
        "categorical",
        str(type),
        rows,
        (variable,),
        tuple(common),
        specials,
        tuple(kept),
        tuple(counts[v] for v in kept),
    )

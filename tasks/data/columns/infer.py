"""The kind of a column, inferred from a sketch of its training rows."""

import re
from dataclasses import replace

import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.columns import Column
from ar_models.tables.left_out import LeftOut
from ar_models.tables.list_cells import SYMBOL
from ar_models.variables import MAX_INTEGER, MAX_ONE_HOT
from tasks.config.data import DataConfig
from tasks.data.columns.calendars import calendar_column
from tasks.data.columns.codes import UNIQUE_ROWS, number_code_column, word_column
from tasks.data.columns.lists import list_column
from tasks.data.columns.numbers import number_column
from tasks.data.columns.ranges import with_range
from tasks.data.columns.reals import real_column
from tasks.data.counts import ExactCounts
from tasks.data.sketches import ListSketch, NumberSketch, Sketch, WordSketch

MAX_CODED_REALS = 32
"""Number of distinct values up to which a real column is categorical."""

MAX_CODED_DATES = 12
"""Number of distinct dates up to which a column of dates is categorical."""

ROWS_PER_VALUE = 4
"""Mean number of rows of a distinct value from which reals with a fixed number of
decimals are counted in steps, with probabilities instead of densities."""

MAX_SYMBOLS = 1000
"""Number of distinct letters of a text, or bytes, up to which they are codes."""

ID_NAME = re.compile(r"(?i:(^|[^a-z])(id|uuid|guid|pid|key)$)|[a-z](Id|ID|Key)$")
"""Names of columns that hold ids, if all their values differ."""

INDEX_NAME = re.compile(r"__index_level_\d+__")
"""Names that pandas gives to the levels of an index that have none."""

LEAVE_OUT = "leave_out"
"""The configured kind of a column that is not modelled."""


def infer_column(
    name: str,
    type: pa.DataType,
    sketch: Sketch,
    data: DataConfig,
    *,
    nested: bool = True,
) -> Column | LeftOut:
    """Return the column that fits a sketch, or why the column is left out.

    Args:
        name: Name of the column.
        type: Arrow type of the column.
        sketch: Sketch of its training rows.
        data: Its `columns` override the inferred kind.
        nested: Whether integers may be divided into intervals, and distributions are
            mixed with marginal ones; not within lists.

    Raises:
        ValueError: The configured kind does not fit the values.
    """
    outcome = _infer_column(name, type, sketch, data, nested=nested)
    if nested and isinstance(outcome, Column) and not isinstance(sketch, ListSketch):
        return _mixed(outcome)
    return outcome


def _infer_column(
    name: str, type: pa.DataType, sketch: Sketch, data: DataConfig, *, nested: bool
) -> Column | LeftOut:
    """Return the column that fits a sketch, its distributions not mixed yet."""
    kind = data.kind_of(name)
    if kind == LEAVE_OUT:
        return LeftOut(name, str(type), "left out by the configuration")
    if kind is None and INDEX_NAME.fullmatch(name):
        return LeftOut(name, str(type), "the index of a pandas frame, without a name")
    check_kind(name, type, kind)
    if isinstance(sketch, ListSketch):
        return list_column(name, type, sketch, data, _infer_element)
    if isinstance(sketch, WordSketch):
        return word_column(name, type, sketch, data, kind)
    outcome = _infer_number(name, type, sketch, data, kind, nested=nested)
    if isinstance(outcome, LeftOut):
        return outcome
    return with_range(outcome, type, sketch, data.columns.get(name))


def _mixed(column: Column) -> Column:
    """Return a column whose conditional distributions are mixed with marginal ones.

    Then a value that occurs in the training rows is never much less probable than one
    that does not occur.
    """
    weight = column.out_of_support_mass
    variables = (
        replace(v, marginal_weight=weight) if v.size <= MAX_ONE_HOT else v
        for v in column.variables
    )
    return replace(column, variables=tuple(variables))


def check_kind(name: str, type: pa.DataType, kind: str | None) -> None:
    """Raise if a configured kind is impossible for a type.

    Raises:
        ValueError: The message lists the possible kinds.
    """
    family = arrow.family(type)
    allowed = {"binary", "categorical"}
    if family is None:
        allowed = {"sequence"}
    elif family in ("text", "bytes"):
        allowed |= {"sequence"}
    if family in arrow.NUMBERS:
        allowed |= {"integer", "real"}
    elif family in ("date", "duration"):
        allowed |= {"integer", "timestamp"} if family == "date" else {"integer"}
    elif family in ("timestamp", "time"):
        allowed = {"timestamp"}
    if kind is not None and kind not in allowed:
        raise ValueError(
            f"data.columns.{name}: kind {kind} is impossible for type {type}; use one "
            f"of {sorted(allowed)!r} or {LEAVE_OUT}"
        )


def _infer_number(
    name: str,
    type: pa.DataType,
    sketch: NumberSketch,
    data: DataConfig,
    kind: str | None,
    *,
    nested: bool,
) -> Column | LeftOut:
    if sketch.off:
        return LeftOut(name, str(type), f"{sketch.off} values do not fit 64 bits")
    family = arrow.family(type)
    if kind in ("binary", "categorical") or (kind is None and family == "bool"):
        return number_code_column(name, type, sketch, data, kind)
    if kind is None:
        if _is_unique_id(name, sketch, family):
            return LeftOut(name, str(type), "a unique id: all values differ")
        if _is_two_valued(sketch, family) or _is_coded_real(sketch):
            return number_code_column(name, type, sketch, data, None)
    if not sketch.is_integer and (kind == "real" or not sketch.is_whole):
        if kind == "integer":
            raise ValueError(
                f"data.columns.{name}: kind integer does not fit a column with "
                "fractions; use real"
            )
        if kind is None and _is_on_grid(sketch):
            return number_column(name, type, sketch, nested=nested)
        return real_column(name, type, sketch)
    if family in ("timestamp", "time") or (family == "date" and kind != "integer"):
        if kind is None and _is_coded_date(sketch):
            return number_code_column(name, type, sketch, data, None)
        column = calendar_column(name, type, sketch)
        if column is not None:
            return column
    return number_column(name, type, sketch, nested=nested)


def _infer_element(
    column: str, field: str, type: pa.DataType, sketch: Sketch, data: DataConfig
) -> Column | LeftOut:
    """Return the column of an element of a list; symbols are codes.

    Args:
        column: Name of the column of lists.
        field: Name of the field of a struct, or "".
        type: Arrow type of the field.
        sketch: Sketch of the field.
        data: Its `columns` may name COLUMN.FIELD.
    """
    plain = data.model_copy(update={"columns": {}, "images": {}})
    override = data.columns.get(f"{column}.{field}") if field else None
    if override:
        is_real = isinstance(sketch, NumberSketch) and not sketch.is_integer
        if override.kind == "real" and not is_real:
            raise ValueError(
                f"data.columns.{column}.{field}: kind real is impossible for fields of "
                f"type {type}; cast it to a floating type"
            )
        plain = plain.model_copy(update={"columns": {field: override}})
        return infer_column(field, type, sketch, plain, nested=False)
    if sketch.distinct == 1:  # constant, but the lists differ in length
        return _as_codes(field, type, sketch, plain, None)
    is_symbol = type == SYMBOL or type == pa.uint8()
    if is_symbol and isinstance(sketch, NumberSketch):
        max_codes = min(MAX_SYMBOLS, data.max_categories)
        if isinstance(sketch.counts, ExactCounts) and len(sketch.counts) <= max_codes:
            return number_code_column(field, type, sketch, plain, "categorical")
    return infer_column(field, type, sketch, plain, nested=False)


def _as_codes(
    name: str, type: pa.DataType, sketch: Sketch, data: DataConfig, kind: str | None
) -> Column | LeftOut:
    """Return a column of codes, of words or numbers."""
    if isinstance(sketch, WordSketch):
        plain = data.model_copy(update={"min_category_count": 1})
        return word_column(name, type, sketch, plain, kind)
    assert isinstance(sketch, NumberSketch)
    return number_code_column(name, type, sketch, data, kind)


def _is_unique_id(name: str, sketch: NumberSketch, family: str | None) -> bool:
    """Return whether integers all differ and are consecutive or named like an id."""
    if sketch.repeats or sketch.regular < UNIQUE_ROWS or not sketch.is_whole:
        return False
    if family not in ("integer", "decimal", "real"):
        return False
    span = sketch.high - sketch.low + 1
    return bool(span <= 4 * sketch.regular or ID_NAME.search(name))


def _is_two_valued(sketch: NumberSketch, family: str | None) -> bool:
    """Return whether numbers that are not points in time have at most two values."""
    if family in (*arrow.MOMENTS, "time") or any(sketch.specials.values()):
        return False
    return isinstance(sketch.counts, ExactCounts) and len(sketch.counts) <= 2


def _is_coded_date(sketch: NumberSketch) -> bool:
    """Return whether a column has few dates, each of them in many rows."""
    if not isinstance(sketch.counts, ExactCounts):
        return False
    return 0 < len(sketch.counts) <= min(MAX_CODED_DATES, sketch.regular // 10)


def _is_on_grid(sketch: NumberSketch) -> bool:
    """Return whether reals have few decimals and so few values that these repeat."""
    if sketch.decimals is None or sketch.low is None:
        return False
    span = (sketch.high - sketch.low) * 10.0**sketch.decimals
    return span <= MAX_INTEGER // 2 and sketch.distinct * ROWS_PER_VALUE <= (
        sketch.regular
    )


def _is_coded_real(sketch: NumberSketch) -> bool:
    """Return whether a real column has so few values that they are categories."""
    if sketch.is_integer or sketch.is_whole:
        return False
    if not isinstance(sketch.counts, ExactCounts):
        return False
    if sketch.specials["+inf"] or sketch.specials["-inf"]:
        return False
    return len(sketch.counts) <= min(MAX_CODED_REALS, sketch.regular // 10)

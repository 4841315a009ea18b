"""Segments of rows, by the values of a column, and labels of anomalies."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ar_models.scoring.conformal import SEGMENT_PREFIX
from ar_models.tables import arrow

LABEL = "label"
"""Name of the label column in the results for each row."""

MISSING, OTHERS = "missing", "(others)"

MAX_SEGMENTS = 50
"""Maximum number of segments of a column; the rows of smaller ones are merged."""

MAX_VALUES = 10_000
"""Maximum number of distinct values of a segment column."""


def check(schema: pa.Schema, segments: Sequence[str], label: str | None) -> None:
    """Raise ValueError if rows cannot be evaluated by these columns.

    Args:
        schema: Schema of the rows.
        segments: Columns whose values are segments.
        label: Column that marks anomalies.
    """
    for key, columns in (
        ("evaluate.segments", segments),
        ("evaluate.label", [label] if label else []),
    ):
        for column in columns:
            if column not in schema.names:
                raise ValueError(
                    f"{key}: the rows have no column {column!r}; columns: "
                    f"{schema.names!r}. Columns under data.id are kept, those under "
                    "data.exclude are not"
                )
    for column in segments:
        if arrow.family(schema.field(column).type) in (None, "real", "bytes"):
            raise ValueError(
                f"evaluate.segments: column {column!r} of type "
                f"{schema.field(column).type} cannot define segments; name a column of "
                "strings, booleans, integers or dates"
            )
    if label:
        family = arrow.family(schema.field(label).type)
        if family not in ("bool", "integer", "real", "decimal"):
            raise ValueError(
                f"evaluate.label: column {label!r} of type {schema.field(label).type} "
                "cannot mark anomalies; name a column of booleans, or of numbers that "
                "are 0 for normal rows"
            )


def carry(
    table: pa.Table, segments: Sequence[str], label: str | None
) -> dict[str, pa.ChunkedArray]:
    """Return the segments of rows, as strings, and their label, as a boolean."""
    carried = {
        SEGMENT_PREFIX + name: pc.fill_null(_to_strings(table[name]), MISSING)
        for name in segments
    }
    if label:
        values = table[label]
        if not pa.types.is_boolean(values.type):
            values = pc.not_equal(values.cast(pa.float64()), 0.0)
        carried[LABEL] = values
    return carried


def _to_strings(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string())


def split(rows: pa.Table, column: str) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the segments of a column and the indices of their rows, the largest first.

    Args:
        rows: Rows with the columns that `carry` returns.
        column: Name of the segment column, without the prefix.

    Raises:
        ValueError: The column has more than `MAX_VALUES` distinct values.
    """
    coded = rows[SEGMENT_PREFIX + column].combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    names = coded.dictionary.to_pylist()
    if len(names) > MAX_VALUES:
        raise ValueError(
            f"evaluate.segments: column {column!r} has {len(names)} distinct values, "
            f"more than {MAX_VALUES}; name a column with fewer"
        )
    codes = coded.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda k: (-counts[k], names[k]))
    for code in ranked[:MAX_SEGMENTS]:
        yield names[code], np.flatnonzero(codes == code)
    if len(names) > MAX_SEGMENTS:
        yield OTHERS, np.flatnonzero(np.isin(codes, ranked[MAX_SEGMENTS:]))

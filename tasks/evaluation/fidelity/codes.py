"""Columns of any type as integer codes that two tables share."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.reports.column_values import to_numbers, to_strings

BINS = 10
"""Number of quantile bins of a number, and of categories with codes of their own."""

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def encode_bins(
    reference: pa.ChunkedArray, other: pa.ChunkedArray
) -> tuple[Codes, Codes]:
    """Encode two columns by quantile bins or by frequent categories.

    Numbers are divided at the deciles of the reference; of categories the ten most
    frequent ones in the reference have codes of their own.

    Returns:
        Codes from 0 to `BINS` + 1, which is null; of categories, `BINS` is any rarer
        one.
    """
    left, right = to_numbers(reference), to_numbers(other)
    if left is None or right is None:
        a, b = encode_categories(reference, other, BINS)
        return np.where(a < 0, BINS + 1, a), np.where(b < 0, BINS + 1, b)
    finite = left[np.isfinite(left)]
    levels = np.arange(1, BINS) / BINS
    edges = np.unique(np.quantile(finite, levels)) if len(finite) else np.zeros(0)
    return _to_bins(left, edges), _to_bins(right, edges)


def encode_categories(
    reference: pa.ChunkedArray, other: pa.ChunkedArray, limit: int
) -> tuple[Codes, Codes]:
    """Encode categories by their frequency rank in the reference.

    Returns:
        Codes: `limit` for all but the `limit` most frequent categories, -1 for null.
    """
    left, right = to_strings(reference), to_strings(other)
    counts = pc.value_counts(left.drop_null()).to_pylist()
    ranked = sorted(counts, key=lambda entry: (-entry["counts"], entry["values"]))
    known = pa.array([entry["values"] for entry in ranked[:limit]], pa.string())
    return _index_in(left, known, limit, -1), _index_in(right, known, limit, -1)


def _to_bins(values: Floats, edges: Floats) -> Codes:
    codes = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), BINS + 1, codes)


def _index_in(
    array: pa.ChunkedArray, known: pa.Array, unknown: int, null: int
) -> Codes:
    places = pc.fill_null(pc.index_in(array, value_set=known), unknown)
    codes = pc.if_else(array.is_null(), null, places)
    return np.asarray(codes.to_numpy(), np.int64)

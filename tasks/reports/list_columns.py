"""Columns of lists turned into plain columns, for figures and measures."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ar_models.tables import arrow
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.list_cells import SYMBOL, Lists, lists
from ar_models.tables.list_column import ListColumn
from tasks.reports.column_values import to_strings

FREQUENT = 10
"""Number of the most frequent elements of sequences whose shares become columns."""

Floats = NDArray[np.float64]


def flatten_lists(
    tables: Sequence[pa.Table], encoder: TableEncoder
) -> tuple[list[pa.Table], dict[str, list[str]]]:
    """Replace the columns of lists in tables by plain columns.

    Each pixel of an image becomes a column. A sequence becomes its length and, for
    each field of its elements, the mean of numbers or the shares of the words or
    characters that are most frequent in the first table.

    Args:
        tables: Tables with all modelled columns.
        encoder: The encoder, which knows the columns of lists.

    Returns:
        The tables, and the names of the new columns by column of lists.
    """
    parts: dict[str, list[str]] = {}
    flat = [table.select(encoder.names) for table in tables]
    for column in encoder.columns:
        if not isinstance(column, ListColumn):
            continue
        cells = [lists(table[column.name]) for table in tables]
        if column.shape:
            replacements = [_split_pixels(column, own) for own in cells]
        else:
            replacements = _summarize_sequences(column.name, cells)
        parts[column.name] = list(replacements[0])
        for k, own in enumerate(replacements):
            flat[k] = flat[k].drop_columns([column.name])
            for name, values in own.items():
                flat[k] = flat[k].append_column(name, values)
    return flat, parts


def _split_pixels(column: ListColumn, cells: Lists) -> dict[str, pa.Array]:
    """Return a column for each pixel, null where the image is null."""
    values = np.full((len(cells.lengths), column.places), np.nan)
    whole = cells.lengths == column.places
    (elements,) = cells.fields.values()
    own = elements.filter(np.repeat(whole, cells.lengths))
    values[whole] = _to_floats(own).reshape(-1, column.places)
    return {
        f"{column.name}[{k}]": pa.array(values[:, k], from_pandas=True)
        for k in range(column.places)
    }


def _summarize_sequences(
    name: str, tables: Sequence[Lists]
) -> list[dict[str, pa.Array]]:
    """Return the length and summaries of the elements of sequences, by table."""
    summaries = [
        {f"{name}.length": pa.array(own.lengths, mask=own.missing)} for own in tables
    ]
    for field, first in tables[0].fields.items():
        label = f"{name}.{field}" if field else name
        elements = [own.fields.get(field, first.slice(0, 0)) for own in tables]
        if _is_numeric(first.type):
            for k, own in enumerate(elements):
                summaries[k][f"mean of {label}"] = _mean(tables[k], _to_floats(own))
            continue
        words = [_to_words(own) for own in elements]
        for word in _most_frequent(words[0]):
            for k, own in enumerate(words):
                is_word = pc.fill_null(pc.equal(own, word), False)
                share = _mean(tables[k], _to_floats(is_word))
                summaries[k][f"share of {word!r} in {label}"] = share
    return summaries


def _is_numeric(type: pa.DataType) -> bool:
    """Return whether elements are numbers; the codes of characters are not."""
    plain = arrow.plain(type)
    if pa.types.is_boolean(plain) or pa.types.is_decimal(plain):
        return True
    number = pa.types.is_integer(plain) or pa.types.is_floating(plain)
    return bool(number and plain != SYMBOL)


def _to_floats(array: pa.Array) -> Floats:
    """Return numbers as floats, NaN where null."""
    values = arrow.flat(array).cast(pa.float64(), safe=False)
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _to_words(array: pa.Array) -> pa.Array:
    """Return elements as strings, a code of a character as the character."""
    if array.type == SYMBOL:
        return pa.array([chr(code) for code in array.to_pylist()], pa.string())
    return to_strings(pa.chunked_array([arrow.flat(array)])).combine_chunks()


def _most_frequent(words: pa.Array) -> list[str]:
    """Return the most frequent words; those of equal counts by spelling."""
    counts = pc.value_counts(words.drop_null()).to_pylist()
    counts.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    return [entry["values"] for entry in counts[:FREQUENT]]


def _mean(cells: Lists, values: Floats) -> pa.Array:
    """Return the mean of each list's known elements, null where there are none."""
    rows = np.repeat(np.arange(len(cells.lengths)), cells.lengths)
    known = ~np.isnan(values)
    size = len(cells.lengths)
    count = np.bincount(rows[known], minlength=size)
    total = np.bincount(rows[known], weights=values[known], minlength=size)
    with np.errstate(invalid="ignore"):
        return pa.array(total / count, from_pandas=True)

"""Columns of lists as plain columns, which figures and measures can compare."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ar_models import cells
from ar_models.encoder import TableEncoder
from ar_models.lists import SYMBOL, ListColumn, Lists, lists

COMMONEST = 10
"""Elements of sequences whose shares are told."""

Floats = NDArray[np.float64]
Names = dict[str, list[str]]


def summarised(
    tables: Sequence[pa.Table], encoder: TableEncoder
) -> tuple[list[pa.Table], Names]:
    """Tables whose columns of lists are replaced by plain ones.

    The pixels of an image become a column each. Of sequences are told their length and,
    of each field of their elements, the mean of numbers or the shares of words and
    characters, those that are commonest in the first table.

    Args:
        tables: Of all modelled columns.
        encoder: Says which of them are lists.

    Returns:
        The tables, and by each column of lists the names of those in its place.
    """
    names: Names = {}
    whole = [table.select(encoder.names) for table in tables]
    for column in encoder.columns:
        if not isinstance(column, ListColumn):
            continue
        found = [lists(table[column.name]) for table in tables]
        if column.shape:
            plain = [pixels(column, own) for own in found]
        else:
            plain = told(column.name, found)
        names[column.name] = list(plain[0])
        for k, own in enumerate(plain):
            whole[k] = whole[k].drop_columns([column.name])
            for name, values in own.items():
                whole[k] = whole[k].append_column(name, values)
    return whole, names


def pixels(column: ListColumn, found: Lists) -> dict[str, pa.Array]:
    """A column for each pixel, null where the image is."""
    values = np.full((len(found.lengths), column.places), np.nan)
    whole = found.lengths == column.places
    (elements,) = found.fields.values()
    own = elements.filter(np.repeat(whole, found.lengths))
    values[whole] = numbers(own).reshape(-1, column.places)
    return {
        f"{column.name}[{k}]": pa.array(values[:, k], from_pandas=True)
        for k in range(column.places)
    }


def told(name: str, tables: Sequence[Lists]) -> list[dict[str, pa.Array]]:
    """The length of each sequence, and what its elements are like, by table."""
    found = [
        {f"{name}.length": pa.array(own.lengths, mask=own.missing)} for own in tables
    ]
    for field, first in tables[0].fields.items():
        label = f"{name}.{field}" if field else name
        each = [own.fields.get(field, first.slice(0, 0)) for own in tables]
        if is_number(first.type):
            for k, own in enumerate(each):
                found[k][f"mean of {label}"] = mean(tables[k], numbers(own))
            continue
        words = [spelled(own) for own in each]
        for word in commonest(words[0]):
            for k, own in enumerate(words):
                is_word = pc.fill_null(pc.equal(own, word), False)
                share = mean(tables[k], numbers(is_word))
                found[k][f"share of {word!r} in {label}"] = share
    return found


def is_number(type: pa.DataType) -> bool:
    """Whether elements are numbers: characters are none."""
    plain = cells.plain(type)
    if pa.types.is_boolean(plain) or pa.types.is_decimal(plain):
        return True
    number = pa.types.is_integer(plain) or pa.types.is_floating(plain)
    return bool(number and plain != SYMBOL)


def numbers(array: pa.Array) -> Floats:
    """Numbers as they are, NaN where null."""
    values = cells.flat(array).cast(pa.float64(), safe=False)
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def spelled(array: pa.Array) -> pa.Array:
    """Elements as words, characters as themselves."""
    if array.type == SYMBOL:
        return pa.array([chr(code) for code in array.to_pylist()], pa.string())
    return cells.flat(array).cast(pa.string())


def commonest(words: pa.Array) -> list[str]:
    """The words that occur most often, those of equal counts by their spelling."""
    counts = pc.value_counts(words.drop_null()).to_pylist()
    counts.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    return [entry["values"] for entry in counts[:COMMONEST]]


def mean(of: Lists, values: Floats) -> pa.Array:
    """The mean of each list's elements that are no NaN, null where there are none."""
    rows = np.repeat(np.arange(len(of.lengths)), of.lengths)
    known = ~np.isnan(values)
    size = len(of.lengths)
    count = np.bincount(rows[known], minlength=size)
    total = np.bincount(rows[known], weights=values[known], minlength=size)
    with np.errstate(invalid="ignore"):
        return pa.array(total / count, from_pandas=True)

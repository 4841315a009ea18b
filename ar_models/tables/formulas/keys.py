"""Cells as JSON-able keys: text, hexadecimal bytes, integers in a type's units, reals.

None is the key of a null. NaN has no key of its own.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.lookup import lookup

Key: TypeAlias = str | int | float | None


def keys_of(array: pa.Array) -> list[Key]:
    """Return the keys of cells (n,)."""
    array = arrow.flat(array)
    missing = arrow.nulls(array)
    family = arrow.family(array.type)
    found: list[Key]
    if family in ("text", "bytes"):
        plain = array.cast(arrow.plain(array.type)).to_pylist()
        found = [v.hex() if isinstance(v, bytes) else v for v in plain]
    elif family == "real":
        found = arrow.reals(array).values.tolist()
    else:
        found = arrow.integers(array, array.type).values.tolist()
    if missing is None:
        return found
    return [None if gone else key for key, gone in zip(found, missing, strict=True)]


def from_keys(keys: Sequence[Key], type: pa.DataType) -> pa.Array:
    """Return an array of the plain type from its keys, the inverse of `keys_of`."""
    plain, family = arrow.plain(type), arrow.family(type)
    if family == "text":
        return pa.array(keys, plain)
    if family == "bytes":
        known = [bytes.fromhex(str(k)) if k is not None else None for k in keys]
        return pa.array(known, plain)
    null = np.array([key is None for key in keys], bool)
    mask = null if null.any() else None
    filled = [0 if key is None else key for key in keys]
    if family == "real":
        return arrow.from_reals(np.array(filled, np.float64), mask, plain)
    return arrow.from_integers(np.array(filled, np.int64), mask, plain)


def places(array: pa.Array, keys: Sequence[Key]) -> np.ndarray:
    """Return the index of each cell's key in distinct `keys`, (n,); -1 if not there."""
    array = arrow.flat(array)
    family = arrow.family(array.type)
    missing = arrow.nulls(array)
    known = [key for key in keys if key is not None]
    at = np.array([i for i, key in enumerate(keys) if key is not None], np.int64)
    if family in ("text", "bytes"):
        cells = arrow.words(array)
        own = from_keys(known, pa.large_string() if family == "text" else array.type)
        assert cells.words is not None
        found = pc.index_in(cells.words, value_set=own.cast(cells.words.type))
        table = np.append(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), -1)
        index = table[cells.values] if len(cells.words) else np.full(len(array), -1)
    elif family == "real":
        index = lookup(np.array(known, np.float64), arrow.reals(array).values)
    else:
        values = arrow.integers(array, array.type).values
        index = lookup(np.array(known, np.int64), values)
    index = np.where(index < 0, -1, np.append(at, -1)[index])
    if missing is not None:
        index[missing] = list(keys).index(None) if None in keys else -1
    return index

"""Hashes of rows that depend on their content alone.

Equal rows have equal hashes, whatever the order of columns, the width of their types,
and the file or the dictionary that they are stored in.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ar_models.tables.list_cells import Lists
from tasks.data.cells import Cells, to_cells
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    import pandas as pd
else:  # It takes a second to import, and few users of this module hash anything.
    pd = DeferredModule("pandas")

HASH_OF_NULL = np.uint64(0x6A09E667F3BCC909)
SIPHASH_KEY = "chainrule-splits"
"""Key of pandas' hash of text, 16 bytes; another key would move rows between splits."""


def mix(bits: np.ndarray) -> np.ndarray:
    """Return 64-bit hashes of 64-bit words (the finaliser of splitmix64)."""
    z = bits + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = z ^ (z >> np.uint64(31))
    return mixed


def row_hashes(columns: Mapping[str, Cells], seed: int) -> np.ndarray:
    """Return a 64-bit hash of each row, (n,) uint64.

    Args:
        columns: The cells of all columns, by name.
        seed: Seed of the hash.
    """
    total: np.ndarray | None = None
    for name, cells in columns.items():
        hashes = mix(cell_hashes(cells) ^ _hash_of_name(name))
        total = hashes if total is None else total + hashes
    assert total is not None
    # As an array, since numpy warns of intended overflows of scalars.
    return mix(total + mix(np.array([seed], np.int64).view(np.uint64)))


def cell_hashes(cells: Cells) -> np.ndarray:
    """Return a 64-bit hash of each cell of a column, (n,) uint64."""
    if isinstance(cells, Lists):
        return _list_hashes(cells)
    if cells.words is not None:
        words = np.asarray(cells.words.to_pylist(), object)
        hashes: np.ndarray = pd.util.hash_array(
            words, hash_key=SIPHASH_KEY, categorize=False
        )
        hashes = hashes[cells.values] if len(words) else np.zeros(0, np.uint64)
    elif cells.values.dtype == np.float64:
        # All NaNs hash alike, and -0.0 like 0.0.
        values = np.where(np.isnan(cells.values), np.nan, cells.values + 0.0)
        hashes = mix(values.view(np.uint64))
    else:
        hashes = mix(cells.values.view(np.uint64))
    if cells.missing is not None:
        if len(hashes) == 0:
            hashes = np.zeros(len(cells.missing), np.uint64)
        hashes = np.where(cells.missing, HASH_OF_NULL, hashes)
    return hashes


def _list_hashes(cells: Lists) -> np.ndarray:
    """Return a hash of each list: of its length, and of each element with its place."""
    total = mix(cells.lengths.view(np.uint64))
    places = mix(cells.places.view(np.uint64))
    starts = np.concatenate([[0], np.cumsum(cells.lengths)])
    for name, array in cells.fields.items():
        inner = to_cells(pa.chunked_array([array]), array.type)
        hashes = mix(cell_hashes(inner) ^ places ^ _hash_of_name(name))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes)])
        total = mix(total + sums[starts[1:]] - sums[starts[:-1]])
    if cells.missing is not None:
        total = np.where(cells.missing, HASH_OF_NULL, total)
    return total


def _hash_of_name(name: str) -> np.ndarray:
    hashed: np.ndarray = pd.util.hash_array(
        np.array([name], object), hash_key=SIPHASH_KEY
    )
    return hashed

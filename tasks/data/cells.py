"""Values of a column in numpy: words, numbers or lists."""

from typing import Literal

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow, list_cells
from ar_models.tables.list_cells import Lists

Representation = Literal["words", "integers", "reals", "lists"]
"""Text and bytes as words; all other scalars as int64 or float64; lists as lists."""

Cells = arrow.Cells | Lists


def representation_of(type: pa.DataType, kind: str | None) -> Representation:
    """Return how the values of an Arrow type are represented.

    Args:
        type: Type of the column.
        kind: Configured kind of the column, if any: text of kind sequence is a list of
            letters, and numbers of kind real are reals.
    """
    family = arrow.family(type)
    if family is None or kind == "sequence":
        return "lists"
    if family in ("text", "bytes"):
        return "words"
    if family == "real" or (kind == "real" and family in arrow.NUMBERS):
        return "reals"
    return "integers"


def to_cells(
    array: pa.ChunkedArray,
    type: pa.DataType,
    representation: Representation | None = None,
) -> Cells:
    """Convert an Arrow column to its representation in numpy.

    Args:
        array: The column.
        type: Its type in the dataset.
        representation: The representation; defaults to that of the type.
    """
    representation = representation or representation_of(type, None)
    if representation == "lists":
        return list_cells.lists(array)
    if representation == "words":
        return arrow.words(array)
    if representation == "reals":
        return arrow.reals(array)
    return arrow.integers(array, type)


def select_cells(cells: Cells, rows: np.ndarray) -> Cells:
    """Return the cells of the rows where the mask `rows` (n,) is true."""
    if isinstance(cells, Lists):
        return cells.select(rows)
    return arrow.Cells(
        cells.values[rows],
        None if cells.missing is None else cells.missing[rows],
        None if cells.off is None else cells.off[rows],
        cells.words,
    )

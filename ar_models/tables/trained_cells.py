"""Arrow arrays converted to the types of the training rows."""

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow


def as_trained(
    array: pa.Array | pa.ChunkedArray, type: pa.DataType
) -> tuple[pa.Array, np.ndarray | None]:
    """Convert cells to the plain type of the training rows.

    Args:
        array: Cells of a type that can be read as `type`.
        type: Arrow type in training.

    Returns:
        The cells, of which text may be a dictionary; and where a value was replaced by
        null because the type cannot hold it, (n,) bool, None if nowhere.
    """
    array = arrow.flat(array)
    plain, family = arrow.plain(type), arrow.family(type)
    if arrow.plain(array.type) == plain:
        return array, None
    if family in ("text", "bytes"):
        return array.cast(plain), None
    if family == "real":
        cells = arrow.reals(array)
        return arrow.from_reals(cells.values, cells.missing, plain), None
    cells = arrow.integers(array, type)
    null = cells.missing
    if cells.off is not None:
        null = cells.off if null is None else null | cells.off
    return arrow.from_integers(cells.values, null, plain), cells.off

"""Text that is not valid UTF-8, which Parquet files may hold nevertheless."""

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow


def find_invalid_text(table: pa.Table) -> dict[str, np.ndarray]:
    """Return the columns with invalid UTF-8 and the mask of such rows, (n,) bool."""
    faulty: dict[str, np.ndarray] = {}
    for name in table.column_names:
        if arrow.family(table.schema.field(name).type) != "text":
            continue
        try:
            table.column(name).validate(full=True)
        except pa.ArrowInvalid:
            words = decoded_text(table.column(name)).view(pa.large_binary())
            faulty[name] = np.array([not _is_utf8(v) for v in words.to_pylist()])
    return faulty


def decoded_text(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of text as one array without a dictionary, unchecked."""
    words = arrow.flat(column)
    if pa.types.is_dictionary(words.type):
        words = words.dictionary_decode()
    return words.cast(pa.large_string())


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True

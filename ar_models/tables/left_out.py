"""Columns of a table that are not modelled."""

import base64
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow


@dataclass(frozen=True)
class LeftOut:
    """A column that is not modelled.

    Attributes:
        name: Name in the table.
        type: Arrow type, as text.
        reason: Reason why it is not modelled, as text for users.
        constant: Whether `decode` fills it in with `value`.
        value: Value of a constant column as text; None if it is null.
        data: Value of a constant column as an Arrow stream in base 64.
    """

    name: str
    type: str
    reason: str
    constant: bool = False
    value: str | None = None
    data: str | None = None

    def repeat(self, rows: int) -> pa.Array:
        """Return the value of a constant column in a number of rows."""
        assert self.data is not None
        with pa.ipc.open_stream(base64.b64decode(self.data)) as stream:
            value = stream.read_all().column(0).combine_chunks()
        return value.take(pa.array(np.zeros(rows, np.int64)))


def constant(name: str, value: pa.Array, reason: str) -> LeftOut:
    """Return a constant column that holds the one entry of `value` in every row."""
    batch = pa.record_batch([value], names=["value"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = base64.b64encode(sink.getvalue()).decode()
    text = arrow.scalar_text(value[0])
    return LeftOut(name, str(value.type), reason, True, text, data)

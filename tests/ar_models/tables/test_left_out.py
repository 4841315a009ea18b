import pyarrow as pa

from ar_models.tables.encoder import TableEncoder
from ar_models.tables.left_out import constant
from tests.support.columns import fit_columns


def test_constants_are_filled_in() -> None:
    moment = pa.array([5], pa.timestamp("us", "UTC"))
    nothing = pa.array([None], pa.string())
    table = pa.table({"c": moment, "a": [1], "n": nothing})
    left_out = (constant("c", moment, "constant"), constant("n", nothing, "all null"))
    column = fit_columns(pa.table({"a": [1, 2, 3]})).columns[0]
    encoder = TableEncoder((column,), left_out, table.schema)
    assert encoder.decode(encoder.encode(table).x).equals(table)

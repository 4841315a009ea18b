import math

import pyarrow as pa

from tests.support.columns import fit_columns


def test_null_and_nan_are_told_apart() -> None:
    values = pa.array([1.5, None, math.nan, 2.5] * 30)
    for column in (values, pa.array([1.0, None, math.nan, 9.0, 3.0] * 30)):
        table = pa.table({"a": column})
        encoder = fit_columns(table)
        again = encoder.decode(encoder.encode(table).x).column("a").combine_chunks()
        assert again.is_null().equals(column.is_null())
        assert again.fill_null(0.0).is_nan().equals(column.fill_null(0.0).is_nan())

import math

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tests.support.densities import impute_table


def test_bits_of_reals_and_types_of_words_stay(agnostic: TableDensity) -> None:
    odd = np.array([0.1, -0.0, math.nan, 1e300, 5.0])
    table = pa.table(
        {
            "carrier": pa.array(["UA", None, "AA", "XX", "B6"]).dictionary_encode(),
            "delay": pa.array([1, None, None, 7, 2], pa.int16()),
            "time": pa.array([0, None, 5, 6, 7], pa.timestamp("us", "UTC")),
            "amount": pa.array(odd, mask=np.array([0, 0, 0, 0, 1], bool)),
        }
    )

    filled = impute_table(agnostic, table, seed=1)

    assert filled.schema.types == table.schema.types
    bits = filled["amount"].to_numpy()[:4].view(np.uint64)
    assert bits.tolist() == odd[:4].view(np.uint64).tolist()
    assert filled["carrier"].to_pylist()[3] == "XX"  # new, and left as it is
    assert sum(column.null_count for column in filled.columns) == 0

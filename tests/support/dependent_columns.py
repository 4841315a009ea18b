"""A table of dependent columns of every kind."""

from typing import Any

import numpy as np
import pyarrow as pa


def dependent_columns(rows: int, seed: int, **changes: Any) -> pa.Table:
    """Return dependent columns of every kind; `changes` replace some of them."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    names = np.array(["a", "b", "c"])
    columns = {
        "kind": pa.array(names[kind]),
        "code": pa.array(kind * 10),
        "size": pa.array(rng.normal(kind, 1.0), mask=rng.random(rows) < 0.1),
        "flag": pa.array(rng.random(rows) < 0.2 + 0.3 * kind),
        "day": pa.array(19000 + rng.integers(0, 500, rows), pa.int32()).cast(
            pa.date32()
        ),
    }
    return pa.table({**columns, **changes})

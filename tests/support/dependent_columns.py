"""Tables and arrays of dependent columns."""

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


def chain_of_bits(rows: int) -> np.ndarray:
    """Return bits (rows, 5) of which four columns depend on each other.

    Columns 2, 0, 3 and 1 are a chain of copies with errors; column 4 is independent.
    """
    rng = np.random.default_rng(0)
    x = np.empty((rows, 5), dtype=np.float32)
    x[:, 2] = rng.random(rows) < 0.5
    for before, after, error in ((2, 0, 0.1), (0, 3, 0.2), (3, 1, 0.15)):
        x[:, after] = np.where(rng.random(rows) < error, 1 - x[:, before], x[:, before])
    x[:, 4] = rng.random(rows) < 0.5
    return x

"""Small tables for tests."""

import numpy as np
import pyarrow as pa


def small_table(rows: int = 1500, seed: int = 0) -> pa.Table:
    """A table whose columns depend on each other, with nulls and repeated values."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    paid = np.where(rng.random(rows) < 0.4, 0.0, np.exp(kind + rng.normal(size=rows)))
    count = rng.poisson(3 + 5 * kind)
    return pa.table(
        {
            "id": pa.array([f"row-{seed}-{i}" for i in range(rows)]),
            "kind": pa.array(np.array(["a", "b", "c"])[kind]),
            "count": pa.array(count, mask=rng.random(rows) < 0.1),
            "paid": pa.array(paid),
            "late": pa.array(count > 8),
        }
    )

"""Columns of lists and text."""

import numpy as np
import pyarrow as pa

N = 300


def pixels(high: int, seed: int = 0, rows: int = N) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, (rows, 12)).astype(np.uint8)


def words(seed: int = 0, rows: int = N) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcé"), rng.integers(1, 7))) for _ in range(rows)]


FIXED = pa.list_(pa.uint8(), 12)

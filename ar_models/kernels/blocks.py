"""Blocks of rows of one variable, which stay in registers and the nearest cache.

Arrays of a block have the rows as their last axis, (numbers, ROWS) or (ROWS,), so that
a processor computes several rows at once.
"""

import numpy as np
from numpy.typing import NDArray

from ar_models.kernels.compiled import jit
from ar_models.kernels.elementary import ZERO

Numbers = NDArray[np.float32]

ROWS = 32
"""Number of rows of a block."""

LOG_ZERO = np.float32(-1e30)
"""Stands for the logarithm of 0 in sums, where infinity would give NaN."""

MAX_LOG_ZERO = np.float32(-1e29)
"""Results of at most this are -inf; no logarithm of a positive probability is."""


@jit
def load_columns(
    source: Numbers, first: int, j: int, start: int, target: Numbers, nan_mask: Numbers
) -> None:
    """Copy columns of variable `j` to a block (numbers, ROWS).

    The last row is repeated where the block reaches beyond it.

    Args:
        source: (n, count, width).
        first: First row of the block.
        j: Index of the variable.
        start: First column.
        target: Gets as many columns as it has place for.
        nan_mask: NaN is added where a number is not finite, as comparisons lose it.
    """
    last = len(source) - 1
    for c in range(len(target)):
        for r in range(ROWS):
            target[c, r] = source[min(first + r, last), j, start + c]
        for r in range(ROWS):
            nan_mask[r] += target[c, r] * ZERO


@jit
def store(
    result: Numbers, first: int, j: int, values: Numbers, nan_mask: Numbers
) -> None:
    """Copy results (ROWS,) of variable `j` to the rows of the block that exist."""
    for r in range(min(ROWS, len(result) - first)):
        value = values[r]
        result[first + r, j] = (-np.inf if value <= MAX_LOG_ZERO else value) + nan_mask[
            r
        ]

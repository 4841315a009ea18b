"""Sampling of binary variables from a MADE as a compiled kernel for CPUs.

Each variable depends on the one before, so sampling by tensor operations takes
thousands of them, too small for what a call costs. The kernel samples a block of
variables: for some rows that stay in the nearest caches, it goes through the variables
and the hidden units that each of them determines.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ar_models.kernels.compiled import jit

Numbers = NDArray[np.float32]

ROWS = 256
"""Number of rows that are sampled together."""


@jit
def add_one(total: Numbers, weights: Numbers, values: Numbers, count: int) -> None:
    """Add the product of weights and the values of `count` inputs to a total.

    Four inputs at a time, so that a total is read and written less often.

    Args:
        total: (ROWS,).
        weights: (inputs,).
        values: (inputs * ROWS,).
        count: Number of inputs.
    """
    fours = count - count % 4
    for j in range(0, fours, 4):
        x = values[j * ROWS : (j + 4) * ROWS]
        a, b, c, d = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        for r in range(ROWS):
            total[r] += (
                a * x[r] + b * x[ROWS + r] + c * x[2 * ROWS + r] + d * x[3 * ROWS + r]
            )
    for j in range(fours, count):
        x = values[j * ROWS : (j + 1) * ROWS]
        a = weights[j]
        for r in range(ROWS):
            total[r] += a * x[r]


@jit
def add_four(totals: Numbers, weights: Numbers, values: Numbers, count: int) -> None:
    """Add products to four totals (4 * ROWS,) at once, with weights (4, inputs).

    A value that was read is used for four products; see `add_one`.
    """
    fours = count - count % 4
    for j in range(0, fours, 4):
        x = values[j * ROWS : (j + 4) * ROWS]
        w = weights[:, j : j + 4]
        a, b, c, d = w[0, 0], w[0, 1], w[0, 2], w[0, 3]
        e, f, g, h = w[1, 0], w[1, 1], w[1, 2], w[1, 3]
        i, k, m, n = w[2, 0], w[2, 1], w[2, 2], w[2, 3]
        o, p, q, s = w[3, 0], w[3, 1], w[3, 2], w[3, 3]
        for r in range(ROWS):
            t, u, v, z = x[r], x[ROWS + r], x[2 * ROWS + r], x[3 * ROWS + r]
            totals[r] += a * t + b * u + c * v + d * z
            totals[ROWS + r] += e * t + f * u + g * v + h * z
            totals[2 * ROWS + r] += i * t + k * u + m * v + n * z
            totals[3 * ROWS + r] += o * t + p * u + q * v + s * z
    for j in range(fours, count):
        x = values[j * ROWS : (j + 1) * ROWS]
        a, e, i, o = weights[0, j], weights[1, j], weights[2, j], weights[3, j]
        for r in range(ROWS):
            totals[r] += a * x[r]
            totals[ROWS + r] += e * x[r]
            totals[2 * ROWS + r] += i * x[r]
            totals[3 * ROWS + r] += o * x[r]


@jit
def add_products(
    totals: Numbers, weights: Numbers, values: Numbers, begin: int, end: int, count: int
) -> None:
    """Add products to the totals `begin` … `end` - 1; see `add_one`."""
    fours = begin + (end - begin) // 4 * 4
    for u in range(begin, fours, 4):
        own = totals[u * ROWS : (u + 4) * ROWS]
        add_four(own, weights[u : u + 4], values, count)
    for u in range(fours, end):
        add_one(totals[u * ROWS : (u + 1) * ROWS], weights[u], values, count)


@jit
def load_rows(source: Numbers, target: Numbers, begin: int, rows: int) -> None:
    """Copy `rows` columns of (units, batch) from `begin` on to (units * ROWS,)."""
    for u in range(len(source)):
        read, write = source[u, begin:], target[u * ROWS : (u + 1) * ROWS]
        for r in range(rows):
            write[r] = read[r]


@jit
def store_rows(source: Numbers, target: Numbers, begin: int, rows: int) -> None:
    """Copy (units * ROWS,) to `rows` columns of (units, batch) from `begin` on."""
    for u in range(len(target)):
        read, write = source[u * ROWS : (u + 1) * ROWS], target[u, begin:]
        for r in range(rows):
            write[r] = read[r]


class BlockWeights(NamedTuple):
    """The weights among n variables and the m hidden units that they complete.

    Attributes:
        first: From variables to units of the first layer, (m, n).
        inner: Between consecutive layers, (inner layers, m, m).
        last: From units of the last layer to logits, (n, m).
        direct: From variables to logits, (n, n), or (0, 0) without such weights.
    """

    first: Numbers
    inner: Numbers
    last: Numbers
    direct: Numbers


class BlockInputs(NamedTuple):
    """Contributions of all earlier variables to a block, and its random numbers.

    Attributes:
        layers: Pre-activations of each layer, (1 + inner layers, m, batch).
        logits: Logits of the variables, (n, batch).
        thresholds: Logits above which a variable is 1, (n, batch).
    """

    layers: Numbers
    logits: Numbers
    thresholds: Numbers


@jit
def rectify(
    before: Numbers, after: Numbers, k: int, start: int, stop: int, residual: bool
) -> None:
    """Apply residual connections and ReLU to units `start` … `stop` - 1 of layer k."""
    h = before[k, start * ROWS : stop * ROWS]
    if residual and k > 0 and k % 2 == 0:
        h += before[k - 2, start * ROWS : stop * ROWS]
    positive = after[k, start * ROWS : stop * ROWS]
    for r in range(len(h)):
        positive[r] = max(h[r], np.float32(0))


@jit
def sample_block(
    weights: BlockWeights,
    inputs: BlockInputs,
    residual: bool,
    units: NDArray[np.int64],
    active: Numbers,
    start: int,
    samples: Numbers,
) -> None:
    """Sample the n variables of a block for a batch of rows.

    Args:
        weights: Weights within the block.
        inputs: Contributions from outside of the block.
        residual: Whether every second inner layer adds the layer two before it.
        units: Number of units that depend on the first r variables, (n + 1,).
        active: Filled with the activations of the block's units, (1 + inner layers, all
            units, batch).
        start: Index of the block's first unit among all units.
        samples: Filled with the samples, (n, batch).
    """
    count, batch = inputs.thresholds.shape
    depth, width = inputs.layers.shape[:2]
    before = np.zeros((depth, width * ROWS), np.float32)
    after = np.zeros((depth, width * ROWS), np.float32)
    values = np.zeros(count * ROWS, np.float32)
    logits = np.zeros(count * ROWS, np.float32)
    for begin in range(0, batch, ROWS):
        rows = min(ROWS, batch - begin)
        load_rows(inputs.logits, logits, begin, rows)
        for k in range(depth):
            load_rows(inputs.layers[k], before[k], begin, rows)
        for v in range(count):
            old, new = units[v], units[v + 1]
            add_products(before[0], weights.first, values, old, new, v)
            rectify(before, after, 0, old, new, residual)
            for k in range(1, depth):
                inner = weights.inner[k - 1]
                add_products(before[k], inner, after[k - 1], old, new, new)
                rectify(before, after, k, old, new, residual)
            add_products(logits, weights.last, after[-1], v, v + 1, new)
            if len(weights.direct):
                add_products(logits, weights.direct, values, v, v + 1, v)
            logit, x = logits[v * ROWS : (v + 1) * ROWS], values[v * ROWS :]
            threshold = inputs.thresholds[v, begin:]
            for r in range(rows):
                x[r] = np.float32(logit[r] > threshold[r])
        store_rows(values, samples, begin, rows)
        for k in range(depth):
            store_rows(after[k], active[k, start : start + width], begin, rows)

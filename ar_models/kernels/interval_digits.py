"""Digits below decimal intervals in compiled kernels for CPUs.

Arguments are those of `ar_models.kernels.interval_leaves`.
"""

from typing import Any

import numpy as np

from ar_models.kernels.blocks import (
    LOG_ZERO,
    MAX_LOG_ZERO,
    ROWS,
    Numbers,
    load_columns,
    store,
)
from ar_models.kernels.compiled import inlined, jit
from ar_models.kernels.elementary import HALF, LOG2_E, ONE, ZERO, exp2, log
from ar_models.kernels.interval_leaves import interval_masses, load_tree, weigh_widths
from ar_models.kernels.mixtures import log_sum_exp

TEN = np.float32(10)
LOG2_TEN = np.float32(np.log2(10))


@jit
def load_leaves(
    parameters: Numbers, first: int, j: int, leaves: Numbers, nan_mask: Numbers
) -> None:
    """Load log-probabilities of leaves, (leaves, ROWS), some of which are -inf."""
    last = len(parameters) - 1
    for k in range(len(leaves)):
        for r in range(ROWS):
            value = parameters[min(first + r, last), j, k]
            nan_mask[r] += ZERO if value == value else np.float32(np.nan)
            leaves[k, r] = max(value, LOG_ZERO)


@inlined
def for_each_tree(
    body: Any,
    options: Any,
    parameters: Numbers,
    given: Numbers,
    trees: Any,
    results: Numbers,
) -> None:
    """Apply a function to the trees of each variable, a block of rows at a time.

    Args:
        body: Called as body(options, tree, block, numbers, output) with the constants
            of one variable, its parameters and the given numbers of a block of rows;
            fills the output (results, ROWS), may overwrite the rest of its arguments.
        options: Passed to `body`.
        parameters: See the module.
        given: Numbers of each row and variable, (n, count, numbers).
        trees: Constants, boundaries, levels, places and contexts.
        results: Filled with results.
    """
    constants, boundaries, levels, places, contexts = trees
    rows, count, width = parameters.shape
    leaves = levels.shape[1]
    free = leaves + 10 * places.shape[1]
    components = (width - free) // 3
    mixture = (
        np.empty((components, ROWS), np.float32),
        np.empty((components, ROWS), np.float32),
        np.empty((components, ROWS), np.float32),
    )
    every = np.empty((leaves, ROWS), np.float32)
    digits = np.empty((free - leaves, ROWS), np.float32)
    work = (
        np.empty((components, ROWS), np.float32),
        np.empty((components, ROWS), np.float32),
        np.empty((leaves, ROWS), np.float32),
        np.empty((10, ROWS), np.float32),
        np.empty((10, ROWS), np.float32),
    )
    block = mixture, every, digits, work
    numbers = np.empty((given.shape[2], ROWS), np.float32)
    output = np.empty((len(results), ROWS), np.float32)
    nan_mask = np.empty(ROWS, np.float32)
    for first in range(0, rows, ROWS):
        for j in range(count):
            load_tree(parameters, first, j, free, constants[j], mixture, nan_mask)
            load_leaves(parameters, first, j, every, nan_mask)
            load_columns(parameters, first, j, leaves, digits, nan_mask)
            load_columns(given, first, j, 0, numbers, nan_mask)
            tree = constants[j], boundaries[j], levels[j], contexts[j]
            body(options, tree, block, numbers, output)
            for k in range(len(results)):
                store(results[k], first, j, output[k], nan_mask)


@inlined
def masses_above(mixture: Any, edge: Any, above: Numbers) -> None:
    """Compute probabilities above edges (ROWS,) in each component."""
    _, location, sharpness = mixture
    for c in range(len(above)):
        for r in range(ROWS):
            z = (edge[r] - location[c, r]) * sharpness[c, r]
            power = exp2(-abs(z) * LOG2_E)
            share = ONE / (ONE + power)
            above[c, r] = share * power if z > ZERO else share


@jit
def probability(log_prob: Any) -> Any:
    """Compute the exponential of a log-probability, 0 for `LOG_ZERO`."""
    return ZERO if log_prob <= MAX_LOG_ZERO else exp2(log_prob * LOG2_E)


@inlined
def digit_log_probs(
    tree: Any, block: Any, start: Numbers, at: Any, place: int, result: Numbers
) -> None:
    """Compute log-probabilities of digits.

    Args:
        tree: See `for_each_tree`.
        block: The same.
        start: Least integers of the intervals that are divided, (ROWS,).
        at: Leaves that these are in, and their numbers of places.
        place: Number of the place.
        result: Filled, (10, ROWS).
    """
    constants, _, levels, contexts = tree
    mixture, _, digits, (inside, above, _, _, _) = block
    leaf, level = at
    edge, mass = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    floor = np.empty(ROWS, np.float32)
    middle, scale, least = constants[0], constants[1], constants[7]
    power = TEN**place
    weigh_widths(mixture, power / scale, inside)
    for r in range(ROWS):
        edge[r] = (start[r] - HALF - middle) / scale
        floor[r] = least * exp2((np.float32(place) - level[r]) * LOG2_TEN)
    masses_above(mixture, edge, above)
    for k in range(10):
        further = np.float32(k + 1) * power
        for r in range(ROWS):
            edge[r] = (start[r] + further - HALF - middle) / scale
        interval_masses(mixture, edge, inside, above, mass)
        for r in range(ROWS):
            result[k, r] = log(mass[r] + floor[r]) + digits[10 * place + k, r]
    for r in range(ROWS):
        context = int(leaf[r])
        if level[r] > place + 1:
            higher = np.floor(start[r] / (TEN * power))
            digit = int(higher - TEN * np.floor(higher / TEN))
            context = len(levels) + 10 * place + min(max(digit, 0), 9)
        for k in range(10):
            result[k, r] += contexts[context, k]
    log_sum_exp(result, mass)
    for k in range(10):
        for r in range(ROWS):
            result[k, r] -= mass[r]

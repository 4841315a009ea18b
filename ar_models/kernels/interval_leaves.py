"""Probabilities of decimal intervals in mixtures, as compiled kernels for CPUs.

The definitions are those of `ar_models.distributions.interval_tree`; as there, each
mass is a product of factors that are accurate in the tails. Neighbours share the
logistic function at the edge between them, which is most of the work.

All kernels have some of these arguments:

- parameters: Free logits of the leaves (`leaf_log_probs`) or their log-probabilities
  (all others), free logits of digits by place, parameters of the mixture of logistics,
  (n, count, leaves + 10 places + 3 components).
- x: Integers, (n, count, 1).
- constants: Location, scale, lower and upper bound, minimum and maximum log-scale,
  index of the upper outer leaf, least mass of a leaf, scales of the lower and of the
  upper tail, and their shapes, (count, 12).
- boundaries: Edges of the leaves, (count, leaves + 1).
- levels: Number of places below each leaf, (count, leaves).
- places: Powers of ten of the places, (count, places).
- contexts: Logits added to digits, (count, leaves + later contexts, 10).
- results: Filled with results, (results, n, count) unless said otherwise.
"""

from typing import Any

import numpy as np

from ar_models.kernels.blocks import (
    LOG_ZERO,
    MAX_LOG_ZERO,
    ROWS,
    Numbers,
    load_columns,
)
from ar_models.kernels.compiled import inlined, jit
from ar_models.kernels.elementary import HALF, LOG2_E, ONE, ZERO, exp2, log
from ar_models.kernels.mixtures import load_mixture, log_sum_exp

THIRD, QUARTER, FIFTH, SIXTH = (np.float32(1 / k) for k in (3, 4, 5, 6))


@jit
def load_tree(
    parameters: Numbers,
    first: int,
    j: int,
    free: int,
    constants: Numbers,
    mixture: Any,
    nan_mask: Numbers,
) -> None:
    """Load the mixtures of variable `j`: log-weights, locations and sharpness."""
    log_weight, location, sharpness = mixture
    limits = constants[4], constants[5]
    load_mixture(parameters[:, :, free:], first, j, limits, mixture, nan_mask)
    for c in range(len(location)):
        for r in range(ROWS):
            sharpness[c, r] = exp2(-sharpness[c, r] * LOG2_E)


@inlined
def weigh_widths(mixture: Any, width: np.float32, inside: Numbers) -> None:
    """Compute weights times 1 - exp(-width / scale), (components, ROWS)."""
    log_weight, _, sharpness = mixture
    for c in range(len(inside)):
        for r in range(ROWS):
            w = width * sharpness[c, r]
            series = ONE - w * FIFTH * (ONE - w * SIXTH)
            series = ONE - w * THIRD * (ONE - w * QUARTER * series)
            near = w * (ONE - w * HALF * series)
            far = ONE - exp2(-w * LOG2_E)
            share = exp2(log_weight[c, r] * LOG2_E)
            inside[c, r] = share * (near if w < QUARTER else far)


@inlined
def interval_masses(
    mixture: Any, edge: Numbers, inside: Numbers, above: Numbers, mass: Numbers
) -> None:
    """Compute the mass of an interval, and move its probabilities above to its end.

    Args:
        mixture: Log-weights, locations and sharpness.
        edge: Upper edge, (ROWS,).
        inside: Result of `weigh_widths`.
        above: Probabilities above its lower edge; replaced by those above the upper.
        mass: Filled, (ROWS,).
    """
    _, location, sharpness = mixture
    mass[:] = 0
    for c in range(len(above)):
        for r in range(ROWS):
            z = (edge[r] - location[c, r]) * sharpness[c, r]
            power = exp2(-abs(z) * LOG2_E)
            share = ONE / (ONE + power)
            other = share * power
            mass[r] += inside[c, r] * above[c, r] * (share if z > ZERO else other)
            above[c, r] = other if z > ZERO else share


@jit
def leaf_log_probs(
    parameters: Numbers,
    constants: Numbers,
    boundaries: Numbers,
    possible: Numbers,
    places: Numbers,
    results: Numbers,
) -> None:
    """Compute log-probabilities of leaves.

    Args:
        parameters: See the module; the others likewise.
        constants: Constants of the variables.
        boundaries: Edges of the leaves.
        possible: 1 where a leaf contains possible values, else 0, (count, leaves).
        places: Powers of ten of the places.
        results: (n, count, leaves).
    """
    rows, count, width = parameters.shape
    leaves = possible.shape[1]
    free = leaves + 10 * places.shape[1]
    shape = ((width - free) // 3, ROWS)
    log_weight, location = np.empty(shape, np.float32), np.empty(shape, np.float32)
    mixture = log_weight, location, np.empty(shape, np.float32)
    inside, above = np.empty(shape, np.float32), np.empty(shape, np.float32)
    logits = np.empty((leaves, ROWS), np.float32)
    edge, mass = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    nan_mask = np.empty(ROWS, np.float32)
    for first in range(0, rows, ROWS):
        for j in range(count):
            middle, scale, floor = constants[j, 0], constants[j, 1], constants[j, 7]
            load_tree(parameters, first, j, free, constants[j], mixture, nan_mask)
            load_columns(parameters, first, j, 0, logits, nan_mask)
            above[:] = 1
            before = np.float32(-1)
            for k in range(leaves):
                span = boundaries[j, k + 1] - boundaries[j, k]
                if span != before:
                    weigh_widths(mixture, span / scale, inside)
                    before = span
                edge[:] = (boundaries[j, k + 1] - HALF - middle) / scale
                interval_masses(mixture, edge, inside, above, mass)
                for r in range(ROWS):
                    logits[k, r] += log(mass[r] + floor)
                if possible[j, k] == ZERO:
                    logits[k] = LOG_ZERO
            log_sum_exp(logits, mass)
            for r in range(min(ROWS, rows - first)):
                for k in range(leaves):
                    value = logits[k, r] - mass[r] + nan_mask[r]
                    is_zero = value <= MAX_LOG_ZERO
                    results[first + r, j, k] = -np.inf if is_zero else value

"""Log-probabilities and tail probabilities of mixtures as compiled kernels for CPUs.

They take hundreds of powers and logarithms of numbers that are needed once. As tensor
operations each of them would go through memory; here a block of rows stays in the
nearest cache from the network's output to the result. The definitions are those of
`ar_models.distributions`.

All kernels have the same arguments:

- parameters: Logits of atoms and components, locations and raw log-scales, (n, count,
  atoms + 3 components).
- x: Values, (n, count, 1); in scaled units for Gaussians.
- constants: Location, scale, lower and upper bound, minimum and maximum log-scale of
  each variable, (count, 6).
- atoms: Values with a point mass of their own, (count, atoms).
- results: Filled with results, (results, n, count).
"""

from typing import Any

import numpy as np

from ar_models.kernels.blocks import LOG_ZERO, ROWS, Numbers, load_columns, store
from ar_models.kernels.compiled import inlined, jit
from ar_models.kernels.elementary import (
    HALF,
    LOG2_E,
    LOG_2,
    ONE,
    ROOT_HALF,
    ZERO,
    exp2,
    log,
    log_2sinh,
    log_erfc,
    softplus,
)


@jit
def log_sum_exp(terms: Numbers, result: Numbers) -> None:
    """Compute logs of sums of exponentials: (n, ROWS) to `result` (ROWS,)."""
    total = np.zeros(ROWS, np.float32)
    result[:] = LOG_ZERO
    for c in range(len(terms)):
        for r in range(ROWS):
            result[r] = max(result[r], terms[c, r])
    for c in range(len(terms)):
        for r in range(ROWS):
            total[r] += exp2((terms[c, r] - result[r]) * LOG2_E)
    for r in range(ROWS):
        result[r] += log(total[r])


@jit
def load_mixture(
    parameters: Numbers,
    first: int,
    j: int,
    limits: Any,
    mixture: Any,
    nan_mask: Numbers,
) -> None:
    """Load the mixtures of variable `j` in a block of rows.

    Args:
        parameters: (n, count, width).
        first: First row of the block.
        j: Index of the variable.
        limits: Minimum and maximum of its log-scales.
        mixture: Filled with log-weights of atoms and components (…, ROWS), locations
            and log-scales (components, ROWS).
        nan_mask: Filled with NaN where a parameter is not finite, else 0.
    """
    logits, location, log_scale = mixture
    low, high = limits
    top = np.empty(ROWS, np.float32)
    nan_mask[:] = 0
    start = len(logits)
    load_columns(parameters, first, j, 0, logits, nan_mask)
    load_columns(parameters, first, j, start, location, nan_mask)
    load_columns(parameters, first, j, start + len(location), log_scale, nan_mask)
    log_sum_exp(logits, top)
    for c in range(len(logits)):
        for r in range(ROWS):
            logits[c, r] -= top[r]
    for c in range(len(log_scale)):
        for r in range(ROWS):
            t = log_scale[c, r]
            log_scale[c, r] = low + softplus(t - low) - softplus(t - high)


@inlined
def for_each_block(
    body: Any,
    options: Any,
    parameters: Numbers,
    x: Numbers,
    constants: Numbers,
    atoms: Numbers,
    results: Numbers,
) -> None:
    """Apply a function to the mixtures of each variable, a block of rows at a time.

    Args:
        body: Called as body(options, mixture, value, constants, atoms, output) with the
            arrays of one variable; fills the output (results, ROWS), may overwrite the
            mixture.
        options: Passed to `body`.
        parameters: See the module; the others likewise.
        x: Values.
        constants: Constants of the variables.
        atoms: Atoms of the variables.
        results: Filled with results.
    """
    rows, count, width = parameters.shape
    masses = atoms.shape[1]
    components = (width - masses) // 3
    logits = np.empty((masses + components, ROWS), np.float32)
    location = np.empty((components, ROWS), np.float32)
    log_scale = np.empty((components, ROWS), np.float32)
    mixture = logits, location, log_scale
    value, nan_mask = np.empty((1, ROWS), np.float32), np.empty(ROWS, np.float32)
    output = np.empty((len(results), ROWS), np.float32)
    for first in range(0, rows, ROWS):
        for j in range(count):
            limits = constants[j, 4], constants[j, 5]
            load_mixture(parameters, first, j, limits, mixture, nan_mask)
            load_columns(x, first, j, 0, value, nan_mask)
            body(options, mixture, value[0], constants[j], atoms[j], output)
            for k in range(len(results)):
                store(results[k], first, j, output[k], nan_mask)


@inlined
def _gaussian_log_prob(
    options: Any,
    mixture: Any,
    value: Numbers,
    constants: Numbers,
    atoms: Numbers,
    output: Numbers,
) -> None:
    logits, location, log_scale = mixture
    for c in range(len(location)):
        for r in range(ROWS):
            own = log_scale[c, r]
            u = (value[r] - location[c, r]) * exp2(-own * LOG2_E)
            logits[c, r] -= HALF * u * u + own
    log_sum_exp(logits, output[0])


@inlined
def _gaussian_tails(
    options: Any,
    mixture: Any,
    value: Numbers,
    constants: Numbers,
    atoms: Numbers,
    output: Numbers,
) -> None:
    logits, location, log_scale = mixture
    for c in range(len(location)):
        for r in range(ROWS):
            sharpness = exp2(-log_scale[c, r] * LOG2_E)
            u = (value[r] - location[c, r]) * sharpness
            lesser = log_erfc(abs(u) * ROOT_HALF) - LOG_2
            greater = log(ONE - exp2(lesser * LOG2_E))
            less, more = lesser, greater
            if u > ZERO:
                less, more = greater, lesser
            weight = logits[c, r]
            location[c, r] = weight + less
            logits[c, r] = weight + more
    log_sum_exp(location, output[0])
    log_sum_exp(logits, output[1])


@inlined
def _logistic_log_prob(
    options: Any,
    mixture: Any,
    value: Numbers,
    constants: Numbers,
    atoms: Numbers,
    output: Numbers,
) -> None:
    logits, location, log_scale = mixture
    masses = len(atoms)
    for c in range(masses):
        for r in range(ROWS):
            if value[r] != atoms[c]:
                logits[c, r] = LOG_ZERO
    middle, scale, lower, upper = constants[0], constants[1], constants[2], constants[3]
    for c in range(len(location)):
        for r in range(ROWS):
            x = value[r]
            sharpness = exp2(-log_scale[c, r] * LOG2_E)
            u = ((x - middle) / scale - location[c, r]) * sharpness
            d = HALF * sharpness / scale
            power = exp2(d * LOG2_E)
            decay = exp2(-abs(u) * LOG2_E)
            within = (decay + power + ONE / power) * decay + ONE
            inside = log_2sinh(d) - abs(u) - log(within)
            low, high = x <= lower, x >= upper
            beyond = -softplus(-(u + d) if low else u - d)
            mass = beyond if low | high else inside
            mass = ZERO if low & high else mass
            logits[masses + c, r] += mass
    log_sum_exp(logits, output[0])


@inlined
def _logistic_tails(
    options: Any,
    mixture: Any,
    value: Numbers,
    constants: Numbers,
    atoms: Numbers,
    output: Numbers,
) -> None:
    logits, location, log_scale = mixture
    masses = len(atoms)
    less, more = np.empty_like(logits), np.empty_like(logits)
    for c in range(masses):
        for r in range(ROWS):
            x, weight = value[r], logits[c, r]
            less[c, r] = weight if atoms[c] < x else LOG_ZERO
            more[c, r] = weight if atoms[c] > x else LOG_ZERO
    middle, scale, lower, upper = constants[0], constants[1], constants[2], constants[3]
    for c in range(len(location)):
        for r in range(ROWS):
            x, weight = value[r], logits[masses + c, r]
            sharpness = exp2(-log_scale[c, r] * LOG2_E)
            u = ((x - middle) / scale - location[c, r]) * sharpness
            d = HALF * sharpness / scale
            under = weight - softplus(d - u)
            over = weight - softplus(d + u)
            less[masses + c, r] = under if x > lower else LOG_ZERO
            more[masses + c, r] = over if x < upper else LOG_ZERO
    log_sum_exp(less, output[0])
    log_sum_exp(more, output[1])


@jit
def gaussian_log_prob(
    parameters: Numbers,
    x: Numbers,
    constants: Numbers,
    atoms: Numbers,
    results: Numbers,
) -> None:
    """Compute log-densities of Gaussian mixtures, up to a constant; see the module."""
    for_each_block(_gaussian_log_prob, (), parameters, x, constants, atoms, results)


@jit
def gaussian_tails(
    parameters: Numbers,
    x: Numbers,
    constants: Numbers,
    atoms: Numbers,
    results: Numbers,
) -> None:
    """Compute log-probabilities below and above `x`; see the module."""
    for_each_block(_gaussian_tails, (), parameters, x, constants, atoms, results)


@jit
def logistic_log_prob(
    parameters: Numbers,
    x: Numbers,
    constants: Numbers,
    atoms: Numbers,
    results: Numbers,
) -> None:
    """Compute log-probabilities of logistic mixtures with atoms; see the module."""
    for_each_block(_logistic_log_prob, (), parameters, x, constants, atoms, results)


@jit
def logistic_tails(
    parameters: Numbers,
    x: Numbers,
    constants: Numbers,
    atoms: Numbers,
    results: Numbers,
) -> None:
    """Compute log-probabilities of integers below and above `x`; see the module."""
    for_each_block(_logistic_tails, (), parameters, x, constants, atoms, results)

"""Log-probabilities and tail probabilities of interval trees as compiled kernels.

Arguments are those of `ar_models.kernels.interval_leaves`.
"""

from typing import Any

import numpy as np

from ar_models.kernels.blocks import LOG_ZERO, ROWS, Numbers
from ar_models.kernels.compiled import inlined, jit
from ar_models.kernels.elementary import ONE, ZERO, softplus
from ar_models.kernels.interval_digits import TEN, digit_log_probs, for_each_tree
from ar_models.kernels.mixtures import log_sum_exp


@jit
def log_add(a: Any, b: Any) -> Any:
    """Compute log(exp a + exp b)."""
    return max(a, b) + softplus(-abs(a - b))


@jit
def _log_survival(distance: Any, scale: Any, shape: Any) -> Any:
    """Compute the log-probability of at least a distance in a Pareto tail."""
    return -np.log1p(shape * max(distance, ZERO) / scale) / shape


@jit
def _log_tail_prob(distance: Any, scale: Any, shape: Any) -> Any:
    """Compute the log-probability of exactly a distance in a Pareto tail."""
    fall = np.log1p(shape / (scale + shape * distance)) / shape
    return _log_survival(distance, scale, shape) + np.log(-np.expm1(-fall))


@jit
def _log_tail_below(distance: Any, scale: Any, shape: Any) -> Any:
    """Compute the log-probability of less than a distance in a Pareto tail."""
    if distance <= ZERO:
        return LOG_ZERO
    return np.log(-np.expm1(_log_survival(distance, scale, shape)))


@inlined
def _among(
    log_probs: Numbers, chosen: Numbers, sign: int, terms: Numbers, result: Numbers
) -> None:
    """Sum the probabilities below (sign -1) or above (1) the chosen ones (ROWS,)."""
    for k in range(len(log_probs)):
        for r in range(ROWS):
            kept = np.float32(sign) * (np.float32(k) - chosen[r]) > ZERO
            terms[k, r] = log_probs[k, r] if kept else LOG_ZERO
    log_sum_exp(terms, result)


@inlined
def _add_outer(tree: Any, value: Numbers, leaf: Numbers, output: Numbers) -> None:
    """Add what follows within the outer leaves.

    Args:
        tree: See `for_each_tree`.
        value: Integers, (ROWS,).
        leaf: Their leaves.
        output: Log-probabilities of the leaves, which are replaced by those of the
            integers, and below and above, to which is added, (1 or 3, ROWS).
    """
    constants, boundaries, _, _ = tree
    upper = constants[6]
    inner, outer = boundaries[1], boundaries[int(upper)]
    for r in range(ROWS):
        if leaf[r] != ZERO and leaf[r] != upper:
            continue
        is_low, x, prefix = leaf[r] == ZERO, value[r], output[0, r]
        distance = inner - ONE - x if is_low else x - outer
        scale = constants[8] if is_low else constants[9]
        shape = constants[10] if is_low else constants[11]
        at_bound = x <= constants[2] or x >= constants[3]
        own = _log_tail_prob(distance, scale, shape)
        further = _log_survival(distance, scale, shape)
        output[0, r] = prefix + (further if at_bound else own)
        for k in range(1, len(output)):
            if is_low == (k == 1):
                part = _log_survival(distance + ONE, scale, shape)
            else:
                part = _log_tail_below(distance, scale, shape)
            output[k, r] = log_add(output[k, r], prefix + part)


@inlined
def _add_digit(
    log_probs: Numbers, digit: Numbers, active: Any, terms: Numbers, output: Numbers
) -> None:
    """Add the probabilities of a digit and of those below and above.

    Args:
        log_probs: Log-probabilities of all digits, (10, ROWS).
        digit: The digit, (ROWS,).
        active: Where the leaf has this place, (ROWS,).
        terms: Overwritten, (10, ROWS).
        output: Log-probabilities, below and above, to which is added, (1 or 3, ROWS).
    """
    sums = np.empty(ROWS, np.float32)
    for k in range(1, len(output)):
        _among(log_probs, digit, 2 * k - 3, terms, sums)
        for r in range(ROWS):
            more = log_add(output[k, r], output[0, r] + sums[r])
            output[k, r] = more if active[r] else output[k, r]
    for r in range(ROWS):
        own = log_probs[min(max(int(digit[r]), 0), 9), r]
        output[0, r] += own if active[r] else ZERO


@inlined
def _log_probs(
    options: Any, tree: Any, block: Any, numbers: Numbers, output: Numbers
) -> None:
    constants, boundaries, levels, _ = tree
    _, every, _, (_, _, terms, log_probs, some) = block
    value, far = numbers[0], boundaries[len(levels)]
    leaf, level = np.zeros(ROWS, np.float32), np.empty(ROWS, np.float32)
    start, digit = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    for r in range(ROWS):
        value[r] = min(max(value[r] if value[r] == value[r] else ZERO, -far), far)
    for k in range(1, len(levels)):
        for r in range(ROWS):
            leaf[r] += ONE if value[r] >= boundaries[k] else ZERO
    for r in range(ROWS):
        level[r] = levels[int(leaf[r])]
        output[0, r] = every[int(leaf[r]), r]
    for k in range(1, len(output)):
        _among(every, leaf, 2 * k - 3, terms, output[k])
    for place in range(int(level.max()) - 1, -1, -1):
        power = TEN**place
        for r in range(ROWS):
            start[r] = np.floor(value[r] / (TEN * power)) * (TEN * power)
            digit[r] = np.floor((value[r] - start[r]) / power)
        digit_log_probs(tree, block, start, (leaf, level), place, log_probs)
        _add_digit(log_probs, digit, level > place, some, output)
    if leaf.min() == ZERO or leaf.max() == constants[6]:
        _add_outer(tree, value, leaf, output)
    for k in range(1, len(output)):
        sign = np.float32(2 * k - 3)
        for r in range(ROWS):
            at_bound = sign * (value[r] - constants[1 + k]) >= ZERO
            output[k, r] = LOG_ZERO if at_bound else min(output[k, r], ZERO)


@jit
def tree_log_probs(
    parameters: Numbers,
    x: Numbers,
    constants: Numbers,
    boundaries: Numbers,
    levels: Numbers,
    places: Numbers,
    contexts: Numbers,
    results: Numbers,
) -> None:
    """Compute log-probabilities of integers, and if there is place below and above.

    Args:
        parameters: See the module; the others likewise.
        x: Integers.
        constants: Constants of the variables.
        boundaries: Edges of the leaves.
        levels: Number of places below each leaf.
        places: Powers of ten of the places.
        contexts: Logits added to digits.
        results: (1 or 3, n, count).
    """
    trees = constants, boundaries, levels, places, contexts
    for_each_tree(_log_probs, (), parameters, x, trees, results)

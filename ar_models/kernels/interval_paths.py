"""Paths down interval trees as compiled kernels for CPUs: samples and entropies.

Arguments are those of `ar_models.kernels.interval_leaves`.
"""

from typing import Any

import numpy as np

from ar_models.kernels.blocks import ROWS, Numbers
from ar_models.kernels.compiled import inlined, jit
from ar_models.kernels.elementary import ONE, ZERO
from ar_models.kernels.interval_digits import (
    TEN,
    digit_log_probs,
    for_each_tree,
    probability,
)

MIN_SHARE = np.float32(1e-30)
"""Divides what is left of noise instead of a probability that rounds to 0."""


@inlined
def _choose(
    log_probs: Numbers, uniform: Numbers, index: Numbers, rest: Numbers
) -> None:
    """Choose indices by the inverse CDF, and return what is left of the noise.

    Args:
        log_probs: Log-probabilities, (n, ROWS).
        uniform: Uniform numbers, (ROWS,).
        index: Filled with indices, (ROWS,).
        rest: Filled with numbers from [0, 1], (ROWS,).
    """
    total, before = np.zeros(ROWS, np.float32), np.zeros(ROWS, np.float32)
    upto, own = np.zeros(ROWS, np.float32), np.ones(ROWS, np.float32)
    greatest = np.zeros(ROWS, np.float32)
    for k in range(len(log_probs)):
        for r in range(ROWS):
            total[r] += probability(log_probs[k, r])
    index[:] = -1
    for k in range(len(log_probs)):
        for r in range(ROWS):
            share = probability(log_probs[k, r])
            is_here = (index[r] < ZERO) & (upto[r] + share > uniform[r] * total[r])
            index[r] = np.float32(k) if is_here else index[r]
            before[r] = upto[r] if is_here else before[r]
            own[r] = share if is_here else own[r]
            greatest[r] = np.float32(k) if share > ZERO else greatest[r]
            upto[r] += share
    for r in range(ROWS):
        found = index[r] >= ZERO
        left = (uniform[r] * total[r] - before[r]) / max(own[r], MIN_SHARE)
        rest[r] = min(max(left, ZERO), ONE) if found else ONE
        index[r] = index[r] if found else greatest[r]


@inlined
def _descend(
    options: Any, tree: Any, block: Any, numbers: Numbers, output: Numbers
) -> None:
    _, boundaries, levels, _ = tree
    _, every, _, (_, _, _, log_probs, _) = block
    leaf, level = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    start, digit = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    rest, uniform = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    _choose(every, numbers[0], leaf, uniform)
    for r in range(ROWS):
        if len(numbers) > 1:
            uniform[r] = numbers[1, r]
        level[r] = levels[int(leaf[r])]
        start[r] = boundaries[int(leaf[r])]
    for place in range(int(level.max()) - 1, -1, -1):
        digit_log_probs(tree, block, start, (leaf, level), place, log_probs)
        _choose(log_probs, uniform, digit, rest)
        for r in range(ROWS):
            active = level[r] > place
            start[r] += digit[r] * TEN**place if active else ZERO
            uniform[r] = rest[r] if active else uniform[r]
    output[0], output[1], output[2] = start, leaf, uniform


@jit
def descend(
    parameters: Numbers,
    noise: Numbers,
    constants: Numbers,
    boundaries: Numbers,
    levels: Numbers,
    places: Numbers,
    contexts: Numbers,
    results: Numbers,
) -> None:
    """Choose leaves and digits by the inverse CDF.

    Args:
        parameters: See the module; the others likewise.
        noise: Uniform numbers, one for the leaf and one for the digits, or one for all,
            (n, count, 1 or 2).
        constants: Constants of the variables.
        boundaries: Edges of the leaves.
        levels: Number of places below each leaf.
        places: Powers of ten of the places.
        contexts: Logits added to digits.
        results: Integers, where the leaf is not an outer one, leaves, and numbers from
            [0, 1] that are left of the noise, (3, n, count).
    """
    trees = constants, boundaries, levels, places, contexts
    for_each_tree(_descend, (), parameters, noise, trees, results)


@inlined
def _sum_entropy(log_probs: Numbers, result: Numbers) -> None:
    """Compute entropies of codes from log-probabilities (n, ROWS)."""
    result[:] = 0
    for k in range(len(log_probs)):
        for r in range(ROWS):
            share = probability(log_probs[k, r])
            result[r] -= share * log_probs[k, r] if share > ZERO else ZERO


@inlined
def _entropy(
    positions: Any, tree: Any, block: Any, numbers: Numbers, output: Numbers
) -> None:
    _, boundaries, levels, _ = tree
    _, every, _, (_, _, _, log_probs, _) = block
    leaf, level = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    start, digit = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    total, upto = np.zeros(ROWS, np.float32), np.empty(ROWS, np.float32)
    uniform, each = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    entropy, mean = np.empty(ROWS, np.float32), np.zeros(ROWS, np.float32)
    _sum_entropy(every, entropy)
    for k in range(len(every)):
        for r in range(ROWS):
            every[k, r] = probability(every[k, r]) * levels[k]
            total[r] += every[k, r]
    for path in range(len(positions)):
        if total.max() == ZERO:
            break
        leaf[:], upto[:], each[:] = 0, 0, 0
        for k in range(len(every) - 1):
            for r in range(ROWS):
                upto[r] += every[k, r]
                leaf[r] += ONE if upto[r] <= total[r] * positions[path, -1] else ZERO
        for r in range(ROWS):
            level[r] = levels[int(leaf[r])]
            start[r] = boundaries[int(leaf[r])]
        for place in range(int(level.max()) - 1, -1, -1):
            digit_log_probs(tree, block, start, (leaf, level), place, log_probs)
            uniform[:] = positions[path, place]
            _choose(log_probs, uniform, digit, upto)
            _sum_entropy(log_probs, upto)
            for r in range(ROWS):
                active = level[r] > place
                each[r] += upto[r] if active else ZERO
                start[r] += digit[r] * TEN**place if active else ZERO
        for r in range(ROWS):
            mean[r] += each[r] / max(level[r], ONE)
    for r in range(ROWS):
        output[0, r] = entropy[r] + total[r] * mean[r] / np.float32(len(positions))


@jit
def inner_entropy(
    parameters: Numbers,
    positions: Numbers,
    constants: Numbers,
    boundaries: Numbers,
    levels: Numbers,
    places: Numbers,
    contexts: Numbers,
    results: Numbers,
) -> None:
    """Compute entropies of the leaf and of the digits below it, in nats.

    Args:
        parameters: See the module; the others likewise.
        positions: Quantiles along which paths choose digits, by place, and last their
            leaf, (paths, places + 1).
        constants: Constants of the variables.
        boundaries: Edges of the leaves.
        levels: Number of places below each leaf.
        places: Powers of ten of the places.
        contexts: Logits added to digits.
        results: (1, n, count).
    """
    trees = constants, boundaries, levels, places, contexts
    nothing = parameters[:, :, :0]
    for_each_tree(_entropy, positions, parameters, nothing, trees, results)

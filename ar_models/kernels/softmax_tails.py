"""Tail probabilities of softmax distributions as a compiled kernel for CPUs."""

import numpy as np

from ar_models.kernels.blocks import LOG_ZERO, ROWS, Numbers, load_columns, store
from ar_models.kernels.compiled import jit
from ar_models.kernels.elementary import LOG2_E, ONE, ZERO, exp2, log

CODES = 512
"""Number of codes of a chunk, which fits the nearest cache."""


@jit
def log_tail_probs(
    logits: Numbers, chosen: Numbers, margin: np.float32, results: Numbers
) -> None:
    """Compute log-probabilities of less, equally and more likely codes, in nats.

    Args:
        logits: Unnormalised log-probabilities of all codes, (n, count, codes).
        chosen: Logits of the codes to compare with, (n, count, 1).
        margin: Maximum difference of logits of equally likely codes.
        results: Filled with results, (3, n, count).
    """
    rows, count, codes = logits.shape
    chunk, at = np.empty((CODES, ROWS), np.float32), np.empty((1, ROWS), np.float32)
    top, next_top = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    low, high = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    less, equal = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    more, share = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    nan_mask = np.empty(ROWS, np.float32)
    for first in range(0, rows, ROWS):
        for j in range(count):
            nan_mask[:], top[:], next_top[:] = 0, LOG_ZERO, LOG_ZERO
            less[:], equal[:], more[:] = 0, 0, 0
            load_columns(chosen, first, j, 0, at, nan_mask)
            for r in range(ROWS):
                low[r], high[r] = at[0, r] - margin, at[0, r] + margin
            for start in range(0, codes, CODES):
                part = chunk[: min(CODES, codes - start)]
                load_columns(logits, first, j, start, part, nan_mask)
                update_tops(part, low, top, next_top)
            for start in range(0, codes, CODES):
                part = chunk[: min(CODES, codes - start)]
                if codes > CODES:
                    load_columns(logits, first, j, start, part, nan_mask)
                for c in range(len(part)):
                    # In units of the greatest term of each of the three sums.
                    for r in range(ROWS):
                        logit, own = part[c, r], at[0, r]
                        greatest, smaller = top[r], next_top[r]
                        unit = greatest if logit > high[r] else own
                        unit = smaller if logit < low[r] else unit
                        share[r] = exp2((logit - unit) * LOG2_E)
                    for r in range(ROWS):
                        less[r] += share[r] if part[c, r] < low[r] else ZERO
                    for r in range(ROWS):
                        more[r] += share[r] if part[c, r] > high[r] else ZERO
                    for r in range(ROWS):
                        differs = (part[c, r] < low[r]) | (part[c, r] > high[r])
                        equal[r] += ZERO if differs else share[r]
            to_logs(at, next_top, top, less, equal, more)
            store(results[0], first, j, less, nan_mask)
            store(results[1], first, j, equal, nan_mask)
            store(results[2], first, j, more, nan_mask)


@jit
def update_tops(part: Numbers, low: Numbers, top: Numbers, next_top: Numbers) -> None:
    """Update the greatest logits (ROWS,), of all codes and of those below `low`."""
    for c in range(len(part)):
        for r in range(ROWS):
            top[r] = max(top[r], part[c, r])
        for r in range(ROWS):
            smaller = part[c, r] if part[c, r] < low[r] else LOG_ZERO
            next_top[r] = max(next_top[r], smaller)


@jit
def to_logs(
    at: Numbers,
    next_top: Numbers,
    top: Numbers,
    less: Numbers,
    equal: Numbers,
    more: Numbers,
) -> None:
    """Convert sums in units of exp(next_top), exp(at) and exp(top) to log-shares."""
    for r in range(ROWS):
        unit_equal = at[0, r] - top[r]
        unit_less = next_top[r] - top[r]
        total = equal[r] * exp2(unit_equal * LOG2_E) + more[r]
        total += less[r] * exp2(unit_less * LOG2_E)
        norm = log(total)
        any_less, any_more = less[r] > ZERO, more[r] > ZERO
        log_less = log(less[r] if any_less else ONE) + unit_less - norm
        log_more = log(more[r] if any_more else ONE) - norm
        less[r] = log_less if any_less else LOG_ZERO
        more[r] = log_more if any_more else LOG_ZERO
        equal[r] = log(equal[r]) + unit_equal - norm

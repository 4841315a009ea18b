"""Softmax distributions of many rows as compiled loops, for processors.

Logits are (n, count, codes), row-contiguous float32, and not normalised.
"""

import numpy as np
from numpy.typing import NDArray

from ar_models.compiled import compiled
from ar_models.elementary import BITS, ONE, ZERO, logarithm, power_of_2
from ar_models.mixture_loops import ABSENT, ROWS, give, take

Numbers = NDArray[np.float32]

CODES = 512
"""Codes that are held together: as many as the nearest caches have place for."""


@compiled
def log_ranks(
    logits: Numbers,
    own: Numbers,
    near: np.float32,
    less: Numbers,
    equal: Numbers,
    more: Numbers,
) -> None:
    """Log-probabilities of less likely, as likely and likelier codes.

    Args:
        logits: Of all codes, (n, count, codes).
        own: Those of the codes at hand, (n, count).
        near: Codes whose logits differ by no more are as likely.
        less: Takes the first, (n, count).
        equal: The second.
        more: The third.
    """
    rows, count, codes = logits.shape
    held, at = np.empty((CODES, ROWS), np.float32), np.empty((1, ROWS), np.float32)
    top, next_top = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    low, high = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    under, over = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    same, share = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    wrong = np.empty(ROWS, np.float32)
    matrix = own.reshape(rows, count, 1)
    for first in range(0, rows, ROWS):
        for j in range(count):
            wrong[:], top[:], next_top[:] = 0, ABSENT, ABSENT
            under[:], same[:], over[:] = 0, 0, 0
            take(matrix, first, j, 0, at, wrong)
            for r in range(ROWS):
                low[r], high[r] = at[0, r] - near, at[0, r] + near
            for start in range(0, codes, CODES):
                some = held[: min(CODES, codes - start)]
                take(logits, first, j, start, some, wrong)
                for c in range(len(some)):
                    for r in range(ROWS):
                        top[r] = max(top[r], some[c, r])
                    for r in range(ROWS):
                        faint = some[c, r] if some[c, r] < low[r] else ABSENT
                        next_top[r] = max(next_top[r], faint)
            for start in range(0, codes, CODES):
                some = held[: min(CODES, codes - start)]
                if codes > CODES:
                    take(logits, first, j, start, some, wrong)
                for c in range(len(some)):
                    # Each sum has a greatest term of about one.
                    for r in range(ROWS):
                        logit, own = some[c, r], at[0, r]
                        likeliest, fainter = top[r], next_top[r]
                        most = likeliest if logit > high[r] else own
                        most = fainter if logit < low[r] else most
                        share[r] = power_of_2((logit - most) * BITS)
                    for r in range(ROWS):
                        under[r] += share[r] if some[c, r] < low[r] else ZERO
                    for r in range(ROWS):
                        over[r] += share[r] if some[c, r] > high[r] else ZERO
                    for r in range(ROWS):
                        apart = (some[c, r] < low[r]) | (some[c, r] > high[r])
                        same[r] += ZERO if apart else share[r]
            for r in range(ROWS):
                of_same = at[0, r] - top[r]
                of_less = next_top[r] - top[r]
                total = same[r] * power_of_2(of_same * BITS) + over[r]
                total += under[r] * power_of_2(of_less * BITS)
                norm = logarithm(total)
                some_less, some_more = under[r] > ZERO, over[r] > ZERO
                lesser = logarithm(under[r] if some_less else ONE) + of_less - norm
                greater = logarithm(over[r] if some_more else ONE) - norm
                under[r] = lesser if some_less else ABSENT
                over[r] = greater if some_more else ABSENT
                same[r] = logarithm(same[r]) + of_same - norm
            give(less, first, j, under, wrong)
            give(equal, first, j, same, wrong)
            give(more, first, j, over, wrong)

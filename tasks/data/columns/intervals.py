"""Division of integers into decimal intervals, and whether a column gains by it."""

from dataclasses import replace
from heapq import heapify, heappop, heappush

import numpy as np

from ar_models.variables import Variable
from tasks.data.columns.states import smoothed_shares
from tasks.data.columns.tails import pareto_tails
from tasks.data.counts import EmpiricalDistribution

MAX_LEAVES = (96, 192, 384)
"""Limits of the number of intervals that are tried, without the two outer ones."""

HEAVY_LEAVES = 2
"""An interval is divided by ten if it has more rows than this many average ones, were
there as many as the limit."""

MAX_SINGLE_VALUES = 100
"""Range up to which all integers have an interval of their own."""

MIN_GAIN = 0.05
"""Nats per value by which the intervals must shorten the code of held-out values."""

MIN_ROWS = 400
"""Number of rows from which intervals are considered."""

SMOOTH_BINS = 32
"""Number of bins, of equally many rows, of the smooth distribution to compare with."""

PRIOR_ROWS = (20, 5)
"""Rows as many as which the digits of all leaves count in the context of one; the
numbers that are tried."""

DECIMALS = 5
"""Number of decimals to which frequencies of digits are rounded."""

MIN_DENSITY = 1e-7
"""Minimum probability of a single integer in the smooth distribution."""


def divide(variable: Variable, given: EmpiricalDistribution) -> Variable:
    """Return an integer variable divided into intervals if that shortens its code.

    Half of the rows fit histograms over intervals and over the digits below them, and a
    smooth distribution with the atoms of the variable; the other half decides between
    them. Where the fewest intervals shorten the code by `MIN_GAIN`, more of them, or
    digits that depend more on their leaf, are used if they do so again.

    Args:
        variable: The variable.
        given: Distribution of its values in the training rows.
    """
    edges = decimal_edges(given)
    rows = given.counts.sum()
    low = -np.inf if variable.lower is None else variable.lower
    high = np.inf if variable.upper is None else variable.upper
    if rows < MIN_ROWS or edges[0] < low or edges[-1] > high + 1:
        return variable
    rng = np.random.default_rng(0)
    half = rng.binomial(np.rint(given.counts).astype(np.int64), 0.5)
    held_out = np.maximum(given.counts - half, 0)
    first = EmpiricalDistribution(given.values, half.astype(np.float64))
    best = _log_prob_smooth(first, variable) @ held_out
    chosen: tuple[list[int], int] | None = None
    for limit in MAX_LEAVES:
        tried = decimal_edges(given, limit)
        for prior_rows in PRIOR_ROWS:
            log_prob = _log_prob_of_intervals(first, tried, prior_rows) @ held_out
            if log_prob > best + MIN_GAIN * held_out.sum():
                best, chosen = log_prob, (tried, prior_rows)
        if chosen is None:
            return variable
    assert chosen is not None
    edges, prior_rows = chosen
    leaves, digits = frequencies(given, edges, prior_rows)
    return replace(
        variable,
        atoms=(),
        frequencies=(*leaves.tolist(), *digits.round(DECIMALS).ravel().tolist()),
        edges=tuple(float(edge) for edge in edges),
        tails=pareto_tails(given, edges[0], edges[-1], variable.scale),
    )


def decimal_edges(
    given: EmpiricalDistribution, limit: int = MAX_LEAVES[0]
) -> list[int]:
    """Return ascending edges of intervals whose widths are powers of ten.

    The interval with the most rows is divided by ten, again and again, unless one of
    its values has most of them.

    Args:
        given: Distribution of integers.
        limit: Number of intervals at most.
    """
    values, total = given.values.astype(np.int64), given.counts.sum()
    low, high = int(values[0]), int(values[-1])
    if high - low < MAX_SINGLE_VALUES:
        return list(range(low, high + 2))
    upto = np.concatenate([[0.0], np.cumsum(given.counts)])
    heavy = HEAVY_LEAVES / limit * total

    def entry(start: int, width: int) -> tuple[float, int, int]:
        first, last = np.searchsorted(values, [start, start + width])
        count = upto[last] - upto[first]
        inside = given.counts[first:last]
        splits = width > 1 and count > heavy and inside.max() < count / 2
        return (-count if splits else 0.0), start, width

    width = 10 ** (len(str(high - low)) - 1)
    starts = range(low // width * width, high + 1, width)
    heap = [entry(start, width) for start in starts]
    heapify(heap)
    while heap[0][0] < 0 and len(heap) + 9 <= limit:
        _, start, width = heappop(heap)
        for child in range(start, start + width, width // 10):
            heappush(heap, entry(child, width // 10))
    ends = [start + width for _, start, width in heap]
    return [*sorted(start for _, start, _ in heap), max(ends)]


def frequencies(
    given: EmpiricalDistribution, edges: list[int], prior_rows: int = PRIOR_ROWS[0]
) -> tuple[np.ndarray, np.ndarray]:
    """Return smoothed shares of the leaves, and of the digits below them.

    Args:
        given: Distribution of integers.
        edges: Result of `decimal_edges`.
        prior_rows: Rows as many as which the digits of all leaves count.

    Returns:
        Shares of the leaves, with the outer ones, (leaves,); shares of the ten digits
        in each context, (contexts, 10). Contexts are the leaves, for the first digit
        below each, and after them each digit at each place, from the tens on, for the
        digit that follows it.
    """
    _, leaf, steps = _places(given, edges)
    leaves, places = len(edges) + 1, int(_levels(edges).max())
    counts = np.bincount(leaf, given.counts, minlength=leaves)
    table = np.zeros((leaves + 10 * max(places - 1, 0), 10))
    marginal = np.full((len(table), 10), 0.1)
    for place, (active, context, digit) in enumerate(steps):
        tally = np.zeros_like(table)
        np.add.at(tally, (context[active], digit[active]), given.counts[active])
        table += tally
        here = np.append(
            _levels(edges) == place + 1, np.zeros(len(table) - leaves, bool)
        )
        here[leaves + 10 * place :][:10] = True
        marginal[here] = smoothed_shares(tally.sum(0).tolist())
    table += prior_rows * marginal
    table /= table.sum(-1, keepdims=True)
    return np.array(smoothed_shares(counts.tolist())), table


def _levels(edges: list[int]) -> np.ndarray:
    """Return the number of places below each leaf, 0 for the outer ones."""
    inner = np.rint(np.log10(np.diff(edges))).astype(np.int64)
    return np.concatenate([[0], inner, [0]])


Step = tuple[np.ndarray, np.ndarray, np.ndarray]
"""At one place: which integers have it below their leaf, contexts and digits, (n,)."""


def _places(
    given: EmpiricalDistribution, edges: list[int]
) -> tuple[np.ndarray, np.ndarray, list[Step]]:
    """Return the integers, their leaves (n,) and their digits, by place."""
    values = given.values.astype(np.int64)
    leaf = np.searchsorted(edges, values, side="right")
    level = _levels(edges)[leaf]
    steps = []
    for place in range(int(_levels(edges).max())):
        above = values // 10 ** (place + 1) % 10
        is_first = level == place + 1
        context = np.where(is_first, leaf, len(edges) + 1 + 10 * place + above)
        steps.append((level > place, context, values // 10**place % 10))
    return values, leaf, steps


def _log_prob_of_intervals(
    given: EmpiricalDistribution, edges: list[int], prior_rows: int
) -> np.ndarray:
    """Return log-probabilities (n,) of the values in the histogram that fits them."""
    leaves, table = frequencies(given, edges, prior_rows)
    _, leaf, steps = _places(given, edges)
    result: np.ndarray = np.log(leaves)[leaf]
    for active, context, digit in steps:
        own = np.log(table)[np.where(active, context, 0), digit]
        result += np.where(active, own, 0.0)
    return result


def _log_prob_smooth(given: EmpiricalDistribution, variable: Variable) -> np.ndarray:
    """Return log-probabilities (n,) with atoms and evenly filled bins between them."""
    total = given.counts.sum()
    at = np.isin(given.values, variable.atoms)
    rest = np.where(at, 0.0, given.counts)
    upto = np.cumsum(rest)
    wanted = np.linspace(0, upto[-1], SMOOTH_BINS + 1)
    places = np.searchsorted(upto, wanted[1:]).clip(max=len(upto) - 1)
    ends = np.concatenate([[given.values[0] - 0.5], given.values[places] + 0.5])
    ends, kept = np.unique(ends, return_index=True)
    reached = np.concatenate([[0.0], upto[places]])[kept]
    edges = np.interp(np.stack([given.values - 0.5, given.values + 0.5]), ends, reached)
    probability = np.diff(edges, axis=0)[0] + np.where(at, given.counts, 0.0)
    log_probs: np.ndarray = np.log(probability / total + MIN_DENSITY)
    return log_probs

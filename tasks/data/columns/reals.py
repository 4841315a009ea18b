"""Real columns: atoms, and a monotone transform to normal scores."""

from collections.abc import Collection
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from ar_models.tables.grid import least_decimals
from ar_models.tables.real_column import RealColumn
from ar_models.variables import Variable
from tasks.data.columns.sentinels import number_sentinels
from tasks.data.columns.states import state_variable
from tasks.data.columns.steps import divisor_of_reals, step_of
from tasks.data.counts import EmpiricalDistribution, ExactCounts
from tasks.data.sketches import NumberSketch

MAX_ATOMS = 16
"""Number of atoms of a real column."""

ATOM_RATIO = 5
"""Least ratio of the frequency of an atom to that of its neighbours."""

NEIGHBOURS = 4
"""Number of neighbouring values on either side that an atom is compared with."""

FEATURE_KNOTS = 32
"""Number of knots of the features that networks see of a number."""

MAX_KNOT = 1e290
"""Bound of knots, so that no slope overflows."""


def real_column(name: str, type: pa.DataType, sketch: NumberSketch) -> RealColumn:
    """Return a real column: frequent values as atoms, the others transformed."""
    found = sketch.frequent_values(0.01, MAX_ATOMS)
    beside = counts_of_neighbours(sketch, found)
    atoms = {v: c for v, c in found.items() if c >= max(10, ATOM_RATIO * beside[v])}
    sentinels = number_sentinels(sketch)
    atoms = dict(sorted((sentinels | atoms).items()))
    decimals = sketch.decimals or None
    if decimals is None and sentinels and isinstance(sketch.counts, ExactCounts):
        rest = sketch.distribution(without=list(sentinels))
        decimals = least_decimals(rest.values, type)
    names, state = state_variable(name, sketch, atoms)
    knots, scores = normal_scores(sketch.distribution(without=list(atoms)))
    even = tuple(
        NormalDist().inv_cdf((i + 0.5) / FEATURE_KNOTS) for i in range(FEATURE_KNOTS)
    )
    value = Variable(name, "real", 0, parent=None if state is None else 0, knots=even)
    variables = (value,) if state is None else (state, value)
    return RealColumn(
        name,
        "real",
        str(type),
        sketch.rows,
        variables,
        names,
        tuple(float(a) for a in atoms),
        knots,
        scores,
        decimals,
        step_of(divisor_of_reals(sketch), sketch.distinct),
    )


def counts_of_neighbours(
    sketch: NumberSketch, values: Collection[float]
) -> dict[float, float]:
    """Return how often the values next to each of some values occur, in the median.

    On a coarse scale all values repeat and none of them is an atom. A column of a few
    values has no neighbours.
    """
    if not isinstance(sketch.counts, ExactCounts):
        return dict.fromkeys(values, 1.0)
    if len(sketch.counts) <= 2 * NEIGHBOURS:
        return dict.fromkeys(values, 0.0)
    given = sketch.distribution()  # ascending, as merged counts are not
    known, counts = given.values, given.counts
    result = {}
    for value in values:
        place = int(np.searchsorted(known, value))
        near = counts[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]
        others = np.delete(near, min(place, NEIGHBOURS))
        result[value] = float(np.median(others))
    return result


def normal_scores(
    given: EmpiricalDistribution,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the knots of a column's transform to normal scores, and their scores.

    There are about 2 n^(1/3) knots, with more towards both ends: enough for the
    transform to follow the density of n rows and not their noise.

    Args:
        given: Distribution of the column.

    Returns:
        Knots in the column's unit and the normal scores of their middle ranks.
    """
    values, counts = given.values.astype(np.float64), given.counts
    values = np.clip(values, -MAX_KNOT, MAX_KNOT)
    if len(values) < 2 or values[-1] - values[0] < 1 / MAX_KNOT:
        middle = float(values[0]) if len(values) else 0.0
        spread = abs(middle) or 1.0
        return (middle - spread, middle + spread), (-1.0, 1.0)
    total = float(counts.sum())
    inner = int(np.clip(round(2 * total ** (1 / 3)), 4, 256))
    ranks = (np.arange(inner) + 0.5) / inner
    tail = 0.5 / inner / 4.0 ** np.arange(1, 16)
    tail = tail[tail * total >= 10]
    ranks = np.concatenate([tail[::-1], ranks, 1 - tail])
    upto = np.cumsum(counts)
    places = np.searchsorted(upto, ranks * total)
    places = np.unique(np.minimum(places, len(values) - 1))
    if len(places) < 2:
        places = np.unique([0, int(places[0]), len(values) - 1])
    knots = values[places]
    middle_ranks = (upto[places] - counts[places] / 2) / total
    scores = np.array([NormalDist().inv_cdf(float(r)) for r in middle_ranks])
    kept = _separated(knots, scores)
    return tuple(knots[kept].tolist()), tuple(scores[kept].tolist())


def _separated(knots: np.ndarray, scores: np.ndarray) -> list[int]:
    """Return the places of knots that differ enough for slopes to be bounded."""
    width = np.quantile(knots, 0.9) - np.quantile(knots, 0.1) or np.ptp(knots)
    kept = [0]
    for place in range(1, len(knots)):
        gap = knots[place] - knots[kept[-1]]
        near = 1e-13 * abs(knots[place])
        if gap > max(near, 1e-9 * width) and scores[place] - scores[kept[-1]] > 1e-9:
            kept.append(place)
    return kept if len(kept) > 1 else [0, len(knots) - 1]

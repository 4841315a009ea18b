"""Effect sizes of drift between two histograms, with confidence intervals.

An interval comes from resampling the rows of both histograms with replacement, which is
one multinomial draw of each histogram's counts.
"""

from dataclasses import dataclass, fields

import numpy as np

from tasks.evaluation.distances import (
    population_stability_index,
    shares,
    total_variation,
)
from tasks.monitoring.histograms import Floats, Histogram, Integers, Scale

PSI_GROUPS = 10
"""Number of groups, of about equal weight, into which bins of numbers are merged for a
population stability index."""


@dataclass(frozen=True)
class EffectSize:
    """An effect size with its confidence interval.

    Attributes:
        value: The measured effect size.
        low: Lower end of the interval.
        high: Upper end of the interval.
        chance: Upper limit of the effect size of two samples of these sizes from one
            distribution, with the same confidence; smaller effects are not significant.
    """

    value: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class Effects:
    """The effect sizes of one distribution; None where one is not defined.

    Attributes:
        ks: Kolmogorov-Smirnov distance; of categories, the total variation distance.
        wasserstein: Wasserstein distance of numbers, in spreads of the reference.
        psi: Population stability index.
    """

    ks: EffectSize | None = None
    wasserstein: EffectSize | None = None
    psi: EffectSize | None = None


EFFECTS = tuple(field.name for field in fields(Effects))
"""Names of the effect sizes."""


def measure_effects(
    scale: Scale,
    reference: Histogram,
    batch: Histogram,
    *,
    resamples: int,
    confidence: float,
) -> Effects:
    """Measure how far the distribution of a batch is from the reference.

    `ks` is the largest difference of the shares of values up to a number, or of a
    label; of categories, which have no order, of the shares of any set of categories
    (total variation). `wasserstein` is how far numbers must be moved on average to make
    the distributions equal. `psi` is taken over about ten groups of equal weight in the
    reference, and the labels. All are None where either histogram is empty.

    Args:
        scale: Bins of both histograms.
        reference: Histogram of the reference rows.
        batch: Histogram of the new rows.
        resamples: Number of resamples.
        confidence: Probability with which the intervals cover the effect sizes.
    """
    if not (reference.counts.sum() and batch.counts.sum()):
        return Effects()
    first, second = _resample(reference, batch, resamples)
    tail = (1 - confidence) / 2
    distances = wasserstein(scale, (reference, batch), first, second)
    return Effects(
        ks=_to_size(ks(scale, first, second), resamples, tail),
        wasserstein=None if distances is None else _to_size(distances, resamples, tail),
        psi=_to_size(psi(scale, reference.counts, first, second), resamples, tail),
    )


def _resample(
    reference: Histogram, batch: Histogram, resamples: int
) -> tuple[Integers, Integers]:
    """Resample both histograms.

    Returns:
        Counts of the reference and of the batch, (1 + 2 * resamples, size): the counts
        themselves, resamples of each, and resamples of both from the mean of the two
        distributions.
    """
    rng = np.random.default_rng(0)
    histograms = (reference, batch)
    own = [
        rng.multinomial(int(h.counts.sum()), shares(h.counts), size=resamples)
        for h in histograms
    ]
    mean = (shares(reference.counts) + shares(batch.counts)) / 2
    same = [
        rng.multinomial(int(h.counts.sum()), mean, size=resamples) for h in histograms
    ]
    first, second = (
        np.vstack([h.counts, own[k], same[k]]) for k, h in enumerate(histograms)
    )
    return first, second


def _to_size(values: Floats, resamples: int, tail: float) -> EffectSize:
    """Return the effect size and interval from values of resampled histograms.

    Distances of samples are too large on average, the more so the smaller they are, and
    resampling repeats that bias: the interval is reflected about the value, which
    removes the bias, and clipped so that it contains the value and starts at 0 or
    above. Of few rows in many bins that is not enough. So it also starts below the
    value by the distance of two samples of these sizes from one distribution: distances
    add up, so that much of the value may be chance.

    Args:
        values: Effect sizes in the order of `_resample`, (1 + 2 * resamples,).
        resamples: Number of resamples.
        tail: Probability of either side outside of the interval.
    """
    value = float(values[0])
    low, high = np.quantile(values[1 : 1 + resamples], [tail, 1 - tail])
    chance = float(np.quantile(values[1 + resamples :], 1 - tail))
    least = min(2 * value - high, value - chance)
    return EffectSize(
        value,
        float(np.clip(least, 0.0, value)),
        float(max(2 * value - low, value)),
        chance,
    )


def ks(scale: Scale, reference: Integers, batch: Integers) -> Floats:
    """Return the KS distance of each pair of counts, (n, size) -> (n,).

    Without bins of numbers it is the total variation distance.
    """
    p, q = shares(reference), shares(batch)
    if not scale.numbers:
        return total_variation(p, q)
    apart = p - q
    apart[:, : scale.numbers] = apart[:, : scale.numbers].cumsum(-1)
    return np.asarray(np.abs(apart).max(-1))


def wasserstein(
    scale: Scale,
    histograms: tuple[Histogram, Histogram],
    reference: Integers,
    batch: Integers,
) -> Floats | None:
    """Return the Wasserstein distance of each pair of counts, (n, size) -> (n,).

    The numbers of a bin are taken to lie at their mean; where one histogram has none,
    at that of the other.

    Args:
        scale: Bins, and the spread in which the distance is measured.
        histograms: Reference and batch, for the means of the bins.
        reference: Counts of the reference.
        batch: Counts of the batch.

    Returns:
        None where either histogram has no numbers.
    """
    size = scale.numbers
    if not size or not all(h.counts[:size].sum() for h in histograms):
        return None
    means = [h.sums[:size] / np.maximum(h.counts[:size], 1) for h in histograms]
    filled = [h.counts[:size] > 0 for h in histograms]
    at = np.concatenate(
        [np.where(filled[0], *means), np.where(filled[1], *means[::-1])]
    )
    order = np.argsort(at, kind="stable")
    weights = np.concatenate(
        [shares(reference[:, :size]), -shares(batch[:, :size])], axis=1
    )
    apart = np.abs(weights[:, order].cumsum(-1)[:, :-1])
    return np.asarray((apart * np.diff(at[order])).sum(-1) / scale.spread)


def psi(
    scale: Scale, weights: Integers, reference: Integers, batch: Integers
) -> Floats:
    """Return the population stability index of pairs of counts, (n, size) -> (n,).

    Half a row is added to each group, so that the index of an empty group is finite.

    Args:
        scale: Bins.
        weights: Counts by which bins are merged into groups, (size,).
        reference: Counts of the reference.
        batch: Counts of the batch.
    """
    starts = np.flatnonzero(np.diff(merge_bins(scale, weights), prepend=-1))
    p, q = (
        shares(np.add.reduceat(counts, starts, axis=-1) + 0.5)
        for counts in (reference, batch)
    )
    return population_stability_index(p, q)


def merge_bins(scale: Scale, weights: Integers) -> Integers:
    """Return the group of each bin for a population stability index, ascending."""
    numbers = weights[: scale.numbers]
    middle = (numbers.cumsum() - numbers / 2) / max(numbers.sum(), 1)
    merged = np.minimum((middle * PSI_GROUPS).astype(np.int64), PSI_GROUPS - 1)
    labels = PSI_GROUPS + np.arange(len(scale.labels))
    return np.concatenate([merged, labels])

"""How far a batch of values is from the reference: distances with intervals.

Values are counted in bins that the reference fixed, so the memory does not depend on
their number, and the same bins of other rows can be added. An interval comes from
drawing rows anew, with replacement, from the batch and from the reference: of counts
that is one multinomial draw.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GROUPS = 10
"""Bins of numbers are joined to so many of about equal weight for a PSI."""

FAR = 10.0
"""Values are taken to be at most so many spreads beyond those of the reference."""

UNIFORM_SPREAD = 12**-0.5

Effect = Literal["ks", "wasserstein", "psi"]
EFFECTS: tuple[Effect, ...] = ("ks", "wasserstein", "psi")


@dataclass(frozen=True)
class Scale:
    """The bins in which values of one kind are counted.

    Numbers come first: up to edges[0], from there up to edges[1] and so on, and above
    the last edge; no edges at all mean that there are no numbers. Then what is not a
    number, or a code: a bin for each label.

    Attributes:
        edges: Ascending, (k,).
        labels: Names of the other bins.
        spread: Unit in which distances of numbers are told.
    """

    edges: tuple[float, ...]
    labels: tuple[str, ...] = ()
    spread: float = 1.0

    @property
    def numbers(self) -> int:
        """How many bins numbers have."""
        return len(self.edges) + 1 if self.edges else 0

    @property
    def size(self) -> int:
        """How many bins there are."""
        return self.numbers + len(self.labels)

    def count(self, values: Floats, other: Integers | None = None) -> "Histogram":
        """Counts values.

        Args:
            values: Finite numbers, of the rows where `other` is negative, (n,).
            other: Places among the labels of what is no number, (n,), else negative;
                None: all are numbers.
        """
        regular = values if other is None else values[other < 0]
        places = np.searchsorted(np.asarray(self.edges), regular, side="left")
        counts = np.zeros(self.size, np.int64)
        sums = np.zeros(self.size)
        if self.edges:
            low = self.edges[0] - FAR * self.spread
            high = self.edges[-1] + FAR * self.spread
            size = self.numbers
            counts[:size] = np.bincount(places, minlength=size)
            weights = np.clip(regular, low, high)
            sums[:size] = np.bincount(places, weights, minlength=size)
        if other is not None:
            counts[self.numbers :] = np.bincount(
                other[other >= 0], minlength=len(self.labels)
            )
        return Histogram(counts, sums)


UNIT = Scale(tuple(np.arange(1, 100) / 100), spread=UNIFORM_SPREAD)
"""For what should be uniform on [0, 1]."""


@dataclass(frozen=True)
class Histogram:
    """How many values lie in each bin of a scale.

    Attributes:
        counts: (size,).
        sums: Of the numbers in each bin, (size,), 0 for other bins.
    """

    counts: Integers
    sums: Floats

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.counts + other.counts, self.sums + other.sums)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict from which `from_dict` makes an equal one."""
        return {"counts": self.counts.tolist(), "sums": self.sums.tolist()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Histogram":
        """The histogram that `to_dict` described."""
        counts = np.asarray(fields["counts"], np.int64)
        return cls(counts, np.asarray(fields["sums"], np.float64))


@dataclass(frozen=True)
class Size:
    """An effect size with its confidence interval.

    Attributes:
        value: As found.
        low: Where the interval begins.
        high: Where it ends.
        chance: What samples of these sizes from one distribution stay below, with the
            same confidence: smaller effects cannot be told from none.
    """

    value: float
    low: float
    high: float
    chance: float

    def to_dict(self) -> dict[str, float]:
        """As JSON holds it."""
        return asdict(self)


def effects(
    scale: Scale,
    reference: Histogram,
    batch: Histogram,
    *,
    resamples: int,
    confidence: float,
) -> dict[Effect, Size | None]:
    """How far a batch is from the reference.

    `ks`: the greatest difference of the shares of values up to a number, or of a
    label, between the two; for codes, which have no order, of the shares of any set of
    codes (the total variation). `wasserstein`: how far numbers must be moved on average
    to make the distributions equal, in spreads of the reference; None for codes and
    where either has no numbers. `psi`: the population stability index over about ten
    groups of equal weight in the reference and the labels.

    Distances of samples are too great on average, the more so the smaller they are, and
    resampling repeats that bias: the interval is reflected about the value, which
    takes the bias off, and cut so that it contains the value and starts at 0 or above.
    Of few rows in many bins that is not enough. So it also begins below the value by
    what two samples of these sizes are apart that are both drawn from the mean of the
    two distributions: distances add up, so that much of the value may be chance.

    Args:
        scale: Of both.
        reference: Of the reference rows, at least one.
        batch: Of the others, at least one.
        resamples: How many.
        confidence: With which the interval covers.
    """
    rng = np.random.default_rng(0)
    pairs = [
        np.vstack([h.counts, draw(rng, h.counts, resamples)])
        for h in (reference, batch)
    ]
    both = (shares(reference.counts) + shares(batch.counts)) / 2
    alike = [draw(rng, h.counts, resamples, both) for h in (reference, batch)]
    pairs = [np.vstack(each) for each in zip(pairs, alike, strict=True)]
    found = {
        "ks": ks(scale, *pairs),
        "wasserstein": wasserstein(scale, (reference, batch), *pairs),
        "psi": psi(scale, reference.counts, *pairs),
    }
    tail = (1 - confidence) / 2
    result: dict[Effect, Size | None] = {}
    for name in EFFECTS:
        values = found[name]
        if values is None:
            result[name] = None
            continue
        value = float(values[0])
        low, high = np.quantile(values[1 : 1 + resamples], [tail, 1 - tail])
        chance = float(np.quantile(values[1 + resamples :], 1 - tail))
        least = min(2 * value - high, value - chance)
        result[name] = Size(
            value,
            float(np.clip(least, 0.0, value)),
            float(max(2 * value - low, value)),
            chance,
        )
    return result


def draw(
    rng: np.random.Generator,
    counts: Integers,
    resamples: int,
    of: Floats | None = None,
) -> Integers:
    """Counts of as many rows drawn with replacement: (size,) -> (resamples, size).

    Args:
        rng: Draws.
        counts: Of the rows.
        resamples: How often.
        of: Shares from which to draw, (size,); by default those of the rows.
    """
    chances = shares(counts) if of is None else of
    return rng.multinomial(int(counts.sum()), chances, size=resamples)


def shares(counts: Integers | Floats) -> Floats:
    """Shares of counts (…, size) in their sums."""
    return np.asarray(counts / np.maximum(counts.sum(-1, keepdims=True), 1))


def ks(scale: Scale, reference: Integers, batch: Integers) -> Floats:
    """The distance `ks` of each pair of counts (n, size): (n,)."""
    apart = shares(reference) - shares(batch)
    if not scale.numbers:
        return np.asarray(np.abs(apart).sum(-1) / 2)
    apart[:, : scale.numbers] = apart[:, : scale.numbers].cumsum(-1)
    return np.asarray(np.abs(apart).max(-1))


def wasserstein(
    scale: Scale,
    histograms: tuple[Histogram, Histogram],
    reference: Integers,
    batch: Integers,
) -> Floats | None:
    """The distance of the numbers in each pair of counts (n, size): (n,), in spreads.

    The numbers in a bin stand together at their mean; where the one histogram has none,
    at that of the other.
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
    """The population stability index of each pair of counts (n, size): (n,).

    Half a row is added to each group, so that an empty one counts but not for ever.
    """
    groups = group(scale, weights)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    p, q = (
        shares(np.add.reduceat(counts, starts, axis=-1) + 0.5)
        for counts in (reference, batch)
    )
    return np.asarray(((q - p) * np.log(q / p)).sum(-1))


def group(scale: Scale, weights: Integers) -> Integers:
    """The group that each bin belongs to, ascending, (size,)."""
    numbers = weights[: scale.numbers]
    middle = (numbers.cumsum() - numbers / 2) / max(numbers.sum(), 1)
    joined = np.minimum((middle * GROUPS).astype(np.int64), GROUPS - 1)
    others = GROUPS + np.arange(len(scale.labels))
    return np.concatenate([joined, others])

"""Histograms of values in bins that the reference data fixed."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator

TO_LIST = PlainSerializer(np.ndarray.tolist)
"""Serialises an array as a list of numbers."""

Floats = Annotated[
    NDArray[np.float64], PlainValidator(partial(np.asarray, dtype=np.float64)), TO_LIST
]
Integers = Annotated[
    NDArray[np.int64], PlainValidator(partial(np.asarray, dtype=np.int64)), TO_LIST
]

MAX_SPREADS = 10.0
"""Distance from the reference values, in spreads, to which outliers are clipped."""

UNIFORM_SPREAD = 12**-0.5
"""Standard deviation of the uniform distribution on [0, 1]."""


@dataclass(frozen=True)
class Scale:
    """The bins of one kind of values.

    The bins of numbers come first: up to edges[0], from there up to edges[1] and so on,
    and above the last edge. Then comes a bin for each label, such as a category or a
    kind of cell that is not a number.

    Attributes:
        edges: Edges of the bins of numbers, ascending; without edges there are none.
        labels: Names of the other bins.
        spread: Unit of distances between numbers.
    """

    edges: tuple[float, ...]
    labels: tuple[str, ...] = ()
    spread: float = 1.0

    @property
    def numbers(self) -> int:
        """Number of bins of numbers."""
        return len(self.edges) + 1 if self.edges else 0

    @property
    def size(self) -> int:
        """Number of all bins."""
        return self.numbers + len(self.labels)

    def count(self, values: Floats, labels: Integers | None = None) -> "Histogram":
        """Count values in the bins.

        Args:
            values: Finite numbers where `labels` is negative, (n,).
            labels: Indices of labels of the other values, (n,), negative for numbers;
                None if all are numbers.
        """
        numbers = values if labels is None else values[labels < 0]
        bins = np.searchsorted(np.asarray(self.edges), numbers, side="left")
        counts = np.zeros(self.size, np.int64)
        sums = np.zeros(self.size)
        if self.edges:
            low = self.edges[0] - MAX_SPREADS * self.spread
            high = self.edges[-1] + MAX_SPREADS * self.spread
            size = self.numbers
            counts[:size] = np.bincount(bins, minlength=size)
            sums[:size] = np.bincount(bins, np.clip(numbers, low, high), minlength=size)
        if labels is not None:
            counts[self.numbers :] = np.bincount(
                labels[labels >= 0], minlength=len(self.labels)
            )
        return Histogram(counts, sums)

    def empty(self) -> "Histogram":
        """Return a histogram without values."""
        return Histogram(np.zeros(self.size, np.int64), np.zeros(self.size))


UNIT = Scale(tuple(np.arange(1, 100) / 100), spread=UNIFORM_SPREAD)
"""The bins of probability integral transforms: a hundred equal parts of [0, 1]."""


@dataclass(frozen=True)
class Histogram:
    """Numbers of values in the bins of a scale.

    Attributes:
        counts: Number of values in each bin, (size,).
        sums: Sum of the numbers in each bin, (size,), 0 for labels.
    """

    counts: Integers
    sums: Floats

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.counts + other.counts, self.sums + other.sums)

"""Robust scales of statistics over calibration rows, and the combined statistic."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ar_models.scoring.conformal import TIE

Floats = NDArray[np.float64]

COMPONENTS = ("density", "max_column", "nearness", "neighbourhood")
"""Statistics whose standardised maximum is the statistic `combined`, which has the unit
of the first."""

LIKELIHOODS = ("excess", "tail", "density", "max_column")
"""The same for a model without stored training rows, which has no distances."""


class RobustScale(NamedTuple):
    """Location and upper-tail scale of a statistic over ordinary rows, in nats.

    Attributes:
        median: Median of the scores.
        tail: Mean excess of the upper quartile's scores over the 0.75 quantile, which
            is the scale of an exponential tail.
    """

    median: float
    tail: float

    @classmethod
    def from_scores(cls, scores: Floats) -> "RobustScale":
        """Estimate the scale from the scores (n,) of ordinary rows."""
        median, upper = np.quantile(scores, (0.5, 0.75))
        tail = float((scores[scores >= upper] - upper).mean())
        return cls(float(median), max(tail, TIE))

    def map_to(self, other: "RobustScale") -> tuple[float, float]:
        """Return the factor and the summand that map this scale to another."""
        factor = other.tail / self.tail
        return factor, other.median - factor * self.median


UNIT_SCALES: Mapping[str, RobustScale] = MappingProxyType(
    dict.fromkeys(LIKELIHOODS, RobustScale(0.0, 1.0))
)
"""Scales that are used if there are no calibration rows."""


def robust_scales(calibration: Mapping[str, Floats]) -> dict[str, RobustScale]:
    """Estimate the scales of the components of the statistic `combined`.

    Args:
        calibration: Scores of the calibration rows by statistic, each (n,); may be
            empty.
    """
    if not calibration or not len(calibration["excess"]):
        return dict(UNIT_SCALES)
    known = set(COMPONENTS) <= calibration.keys()
    names = COMPONENTS if known else LIKELIHOODS
    return {name: RobustScale.from_scores(calibration[name]) for name in names}


def combined_scores(calibration: Mapping[str, Floats]) -> Floats:
    """Compute the calibration rows' scores by the statistic `combined`, (n,), nats.

    Args:
        calibration: Scores of the calibration rows by its components, each (n,).
    """
    scales = robust_scales(calibration)
    unit = next(iter(scales.values()))
    mapped = []
    for name, scale in scales.items():
        factor, summand = scale.map_to(unit)
        mapped.append(factor * calibration[name] + summand)
    return np.asarray(np.max(mapped, axis=0))

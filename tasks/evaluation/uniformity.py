"""Tests of whether the p-values of held-out rows are uniform, as they should be.

P-values rank rows among calibration rows. They are uniform if both are of one
distribution, whatever the model; else rules that flag rows miss their share.
"""

import math
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.intervals import Floats

CONFIDENCE = 0.99
"""Probability with which uniform p-values are not called uneven."""

REMEDY = (
    "the rows changed between the two, or are too few: retrain with newer or more "
    "rows, calibrate on newer rows (`chainrule calibrate`), split by hash, or give the "
    "calibration a larger share (data.split)"
)
"""Advice where p-values are not uniform."""


@dataclass(frozen=True)
class Uniformity:
    """The distance of p-values from uniform, and how much of it may be chance.

    Attributes:
        ks: Kolmogorov-Smirnov distance from uniform.
        chance: Distance that uniform p-values of as many rows, ranked among as many
            calibration rows, exceed with a probability of less than 1 - `CONFIDENCE`.
        rows: Number of rows with p-values.
        calibration_rows: Number of rows among which they are ranked.
        anomalous: Whether the p-values are smaller than uniform ones on average.
    """

    ks: float
    chance: float
    rows: int
    calibration_rows: int
    anomalous: bool

    @classmethod
    def of(cls, p_values: Floats, calibration_rows: int) -> "Uniformity":
        """Measure the p-values of held-out rows, (n,).

        Args:
            p_values: The p-values; at least one.
            calibration_rows: Number of rows among which they are ranked.
        """
        return cls(
            distance(p_values),
            chance_distance(len(p_values), calibration_rows),
            len(p_values),
            calibration_rows,
            bool(np.mean(p_values) < 0.5),
        )

    def fault(self, tolerance: float = 0.0) -> str | None:
        """Return what is wrong in one line, or None if chance explains the distance.

        Args:
            tolerance: Distance that is accepted besides that by chance.
        """
        if self.ks <= self.chance + tolerance:
            return None
        direction = "more" if self.anomalous else "less"
        return (
            f"p-values are not uniform: on {self.rows:,} held-out rows their KS "
            f"distance is {self.ks:.3f}, by chance at most {self.chance:.3f}; these "
            f"rows are {direction} anomalous than the {self.calibration_rows:,} "
            f"calibration rows; {REMEDY}"
        )


def distance(p_values: Floats) -> float:
    """Return the KS distance of p-values, (n,), from uniform, at the values they take.

    Where many rows have equal scores, p-values take few values, each with the
    probability that it states; between these values nothing is claimed.
    """
    values, counts = np.unique(p_values, return_counts=True)
    return float(np.abs(counts.cumsum() / len(p_values) - values).max())


def chance_distance(rows: int, calibration_rows: int) -> float:
    """Return a bound on the KS distance of the p-values of exchangeable rows.

    Rows and calibration rows are two samples of one distribution.

    Args:
        rows: Number of rows with p-values.
        calibration_rows: Number of rows among which they are ranked.

    Reference:
        Wei, Dudley, Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities, 2012.
        https://doi.org/10.1016/j.spl.2011.11.012
    """
    each = 1 / max(rows, 1) + 1 / max(calibration_rows, 1)
    return math.sqrt(math.log(2 / (1 - CONFIDENCE)) / 2 * each)

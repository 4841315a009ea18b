"""The monotone transform by which a real column becomes nearly normal."""

from statistics import NormalDist

import numpy as np


class NormalScores:
    """A piecewise linear map from a column's units to scores, with logarithmic tails.

    Between two knots the score runs linearly; beyond the outer knots it continues with
    the slope it had there, ever more slowly, as log(1 + slope * distance). So the map
    is defined, invertible and of finite slope everywhere, and scaling a column by a
    positive factor together with its knots leaves the scores as they are.
    """

    def __init__(self, knots: tuple[float, ...], scores: tuple[float, ...]) -> None:
        self.knots = np.asarray(knots, np.float64)
        self.scores = np.asarray(scores, np.float64)
        self.slopes = np.diff(self.scores) / np.diff(self.knots)
        # Segment 0 is the lower tail, the last one the upper tail.
        self.log_slopes = np.log(np.r_[self.slopes[0], self.slopes, self.slopes[-1]])
        self.last = len(self.knots) - 1

    @property
    def mean_log_slope(self) -> float:
        """Mean of log |d score / dx| where scores are normal, in nats."""
        below = np.array([NormalDist().cdf(float(score)) for score in self.scores])
        return float(np.diff(np.r_[0.0, below, 1.0]) @ self.log_slopes)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores of finite `x` and log |d score / dx|, both (n,) float64."""
        segment = np.searchsorted(self.knots, x)
        left = np.clip(segment - 1, 0, self.last - 1)
        with np.errstate(over="ignore"):
            rise = (x - self.knots[left]) * self.slopes[left]
        z = self.scores[left] + rise
        log_slope = self.log_slopes[segment]
        outside = np.flatnonzero((segment == 0) | (segment > self.last))
        if len(outside):
            self._tails(x, outside, segment, z, log_slope)
        return z, log_slope

    def _tails(
        self,
        x: np.ndarray,
        outside: np.ndarray,
        segment: np.ndarray,
        z: np.ndarray,
        log_slope: np.ndarray,
    ) -> None:
        """Overwrite `z` and `log_slope` where `x` lies beyond the outer knots."""
        above = segment[outside] > 0
        end = np.where(above, self.last, 0)
        slope = np.where(above, self.slopes[-1], self.slopes[0])
        with np.errstate(over="ignore"):
            bend = np.log1p(np.abs(x[outside] - self.knots[end]) * slope)
        z[outside] = self.scores[end] + np.where(above, bend, -bend)
        log_slope[outside] -= bend

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """Return the values with the scores `z`, float64; NaN stays NaN."""
        z = np.asarray(z, np.float64)
        x: np.ndarray = np.interp(z, self.scores, self.knots)
        x[np.isnan(z)] = np.nan
        with np.errstate(over="ignore"):
            for end, slope in ((0, -self.slopes[0]), (self.last, self.slopes[-1])):
                distance = (z - self.scores[end]) * np.sign(slope)
                beyond = distance > 0
                x[beyond] = self.knots[end] + np.expm1(distance[beyond]) / slope
        return x

"""Generalized Pareto distributions of integers beyond a threshold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ar_models.distributions.interval_mass import one_minus_exp
from ar_models.variables import MAX_INTEGER, MIN_TAIL_SHAPE, Variable

EXACT_TERMS = 1024
"""Number of integers whose probabilities the entropy sums one by one."""

BLOCK_GROWTH = 1.01
"""Ratio of the ends of the blocks in which the entropy sums all others."""

SERIES_BOUND = 0.05
"""Argument below which log(1 + y) is a series where a model is exported."""


@dataclass(frozen=True)
class ParetoTails:
    r"""Generalized Pareto distributions of distances from thresholds.

    The probability that the distance is at least t, for t = 0, 1, 2, …, is

    .. math:: S(t) = (1 + \xi t / \sigma)^{-1 / \xi}

    Exceedances of high thresholds tend to such a distribution, whatever they are
    exceedances of.

    Reference:
        Pickands, Statistical inference using extreme order statistics, 1975.

    Attributes:
        scale: sigma, in integers, any shape.
        shape: xi, positive, likewise.
    """

    scale: Tensor
    shape: Tensor

    def log_survival(self, distance: Tensor) -> Tensor:
        """Compute the log-probability of at least a distance; 0 for negative ones."""
        steps = distance.clamp(min=0) / self.scale
        return -torch.log1p(self.shape * steps) / self.shape

    def log_prob(self, distance: Tensor) -> Tensor:
        """Compute the log-probability of exactly a distance."""
        rest = self.scale + self.shape * distance.clamp(min=0)
        fall = log1p(self.shape / rest) / self.shape
        return self.log_survival(distance) + one_minus_exp(fall).log()

    def log_below(self, distance: Tensor) -> Tensor:
        """Compute the log-probability of less than a distance."""
        return one_minus_exp(-self.log_survival(distance)).log()

    def quantile(self, survival: Tensor) -> Tensor:
        """Return the real distances that are exceeded with given probabilities."""
        return self.scale * torch.expm1(-self.shape * survival.log()) / self.shape


def log1p(y: Tensor) -> Tensor:
    """Compute log(1 + y) for y >= 0, also exported to ONNX, which has no log1p."""
    if not torch.compiler.is_exporting():
        return torch.log1p(y)
    series = y * (1 - y * (1 / 2 - y * (1 / 3 - y * (1 / 4 - y / 5))))
    return torch.where(y < SERIES_BOUND, series, torch.log(1 + y))


def tail_constants(variables: Sequence[Variable]) -> tuple[Tensor, Tensor, Tensor]:
    """Return scales, shapes and entropies of the tails of divided variables.

    Args:
        variables: Integer variables with edges.

    Returns:
        Scale, shape and entropy in nats of the lower and upper tail, (count, 2) each.
    """
    scales, shapes, entropies = [], [], []
    for variable in variables:
        default = (max(1.0, variable.scale), MIN_TAIL_SHAPE) * 2
        low_scale, low_shape, high_scale, high_shape = variable.tails or default
        low, high = variable.edges[0] - 1, variable.edges[-1]
        ends = (
            math.inf if variable.lower is None else low - variable.lower,
            math.inf if variable.upper is None else variable.upper - high,
        )
        scales.append((low_scale, high_scale))
        shapes.append((low_shape, high_shape))
        entropies.append(
            [
                entropy(scale, shape, end)
                for scale, shape, end in zip(scales[-1], shapes[-1], ends, strict=True)
            ]
        )
    return torch.tensor(scales), torch.tensor(shapes), torch.tensor(entropies)


def entropy(scale: float, shape: float, greatest: float) -> float:
    """Compute the entropy of a generalized Pareto distribution of integers, in nats.

    Args:
        scale: Its scale, in integers.
        shape: Its shape, positive.
        greatest: Greatest distance, which gets the mass beyond it; may be infinite.
    """
    if greatest <= 0:
        return 0.0
    last = min(greatest, 2.0 * MAX_INTEGER)
    number = (
        math.ceil(math.log(last / EXACT_TERMS, BLOCK_GROWTH))
        if last > EXACT_TERMS
        else 0
    )
    ends = EXACT_TERMS * BLOCK_GROWTH ** np.arange(1, number + 1)
    starts = np.unique(
        np.minimum(np.r_[np.arange(EXACT_TERMS + 1), ends], last).round()
    )
    survival = (1 + shape * starts / scale) ** (-1 / shape)
    mass, width = -np.diff(survival), np.diff(starts)
    mass, width = np.r_[mass, survival[-1]], np.r_[width, 1]
    mass, width = mass[mass > 0], width[mass > 0]
    return float(-(mass * np.log(mass / width)).sum())

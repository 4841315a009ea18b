"""Weights of the inequalities of a density, fitted to rows that it draws."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ar_models.density.sampler import SampleOptions, Sampler
from ar_models.density.table_density import TableDensity
from ar_models.tables.inequality import Inequality, violations

DRAWS = 1 << 14
"""Number of rows that are drawn to see how often a model violates inequalities."""

STEPS = 200
"""Maximum number of passes over the inequalities until their weights agree."""

CONVERGED = 1e-9
"""Change of a log-weight from which the fit goes on, in nats."""

Floats = NDArray[np.float64]


def fit_violation_weights(density: TableDensity, draws: int = DRAWS) -> TableDensity:
    """Return a density that violates inequalities as often as training rows did.

    Args:
        density: The density.
        draws: Number of rows to draw.
    """
    encoder = density.encoder.without_weights()
    if not encoder.inequalities:
        return density
    plain = replace(density, encoder=encoder)
    rows = Sampler(plain, SampleOptions(min_category_count=1)).sample(draws, seed=0)
    known = encoder.inequalities
    fitted = weighted_inequalities(known, violations(known, rows, encoder.schema))
    return replace(density, encoder=encoder.with_inequalities(fitted))


def weighted_inequalities(
    inequalities: Sequence[Inequality], violated: NDArray[np.bool_]
) -> list[Inequality]:
    """Return inequalities with the weights that give the rates of training rows.

    Each weight in turn is multiplied until the odds of violations are right. A rate
    below that of training rows stays as it is.

    Args:
        inequalities: The inequalities.
        violated: Which of them the rows of the model violate, (draws, inequalities).

    Reference:
        Deming, Stephan, On a least squares adjustment of a sampled frequency table,
        1940 (iterative proportional fitting).
    """
    patterns, counts = _patterns(violated)
    targets = [each.expected_rate for each in inequalities]
    logs = np.zeros(len(inequalities))
    for _ in range(STEPS):
        before = logs.copy()
        for k, target in enumerate(targets):
            shares = counts * np.exp(patterns @ logs)
            rate = float(shares[patterns[:, k]].sum() / shares.sum())
            logs[k] = min(0.0, logs[k] + _log_odds(target) - _log_odds(rate))
        if np.abs(logs - before).max() < CONVERGED:
            break
    mass = float(np.log((counts * np.exp(patterns @ logs)).sum() / counts.sum()))
    rates = (counts[:, None] * patterns).sum(axis=0)
    return [
        replace(each, log_weight=float(log), log_mass=-mass * float(share))
        for each, log, share in zip(
            inequalities, logs, rates / rates.sum(), strict=True
        )
    ]


def _patterns(violated: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Floats]:
    """Return the distinct sets of violated inequalities, and their numbers of rows.

    Half a row is added that violates each inequality alone.
    """
    alone = np.eye(violated.shape[1], dtype=bool)
    rows = np.concatenate([violated, alone])
    weights = np.concatenate([np.ones(len(violated)), np.full(len(alone), 0.5)])
    patterns, inverse = np.unique(rows, axis=0, return_inverse=True)
    patterns = patterns.astype(np.bool_)
    counts = np.bincount(inverse.ravel(), weights).astype(np.float64)
    return patterns, counts


def _log_odds(rate: float) -> float:
    return float(np.log(rate) - np.log1p(-rate))

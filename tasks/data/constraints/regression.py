"""Exact regressions: a few features that give a number up to its rounding.

A beam search over least-squares fits proposes sets of features. Each is fitted to small
random subsets of the rows, and the fit with which most rows agree is refined on those
(random sample consensus), so that exceptions do not disturb it.

Reference:
    Fischler and Bolles, Random sample consensus, 1981.
    https://doi.org/10.1145/358669.358692
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

WIDTH = 16
"""Number of sets of features that the search keeps at each size."""

TRIED = 4
"""Number of sets of each size that are fitted robustly."""

SUBSETS = 24
"""Number of random subsets of the rows that a set of features is fitted to."""

COARSE = 1e-3
"""Tolerance of the first fits, as a share of the spread of the numbers."""

ORDINARY = 0.85
"""Share of the rows in which sets of features are searched."""

MIN_EXPLAINED = 0.5
"""Share of the variance that three features explain, or the search ends."""

MAX_UNEXPLAINED = 0.4
"""Share of the variance that is left by sets of features which are fitted robustly."""

MAX_UNEXPLAINED_BY_ALL = 0.2
"""Share of the variance that is left by all features together, in ordinary rows, above
which no few of them give the numbers exactly."""

RIDGE = 1e-9
"""Share of a feature's variance that is added to it, for features that depend on one
another."""

MIN_RESIDUAL = 1e-10
"""Share of a feature's variance, below which earlier features explain it."""


@dataclass(frozen=True)
class Fit:
    """A linear fit of numbers by features.

    Attributes:
        features: Indices of the features.
        coefficients: Their coefficients.
        constant: The constant.
        share: Share of the rows that agree with the fit.
    """

    features: tuple[int, ...]
    coefficients: np.ndarray
    constant: float
    share: float


def exact_fits(
    x: np.ndarray,
    y: np.ndarray,
    tolerance: np.ndarray,
    *,
    most: int,
    least: float,
) -> Iterator[list[Fit]]:
    """Find small sets of features that give most of the numbers.

    Args:
        x: Features of some rows, (n, features), without NaN.
        y: The numbers, (n,).
        tolerance: Rounding error of each number, (n,).
        most: Maximum number of features of a set.
        least: Share of the rows that must agree.

    Yields:
        The fits of each size for which there are any, the best first.
    """
    centre, spread = x.mean(axis=0), x.std(axis=0)
    usable = spread > 1e-12 * np.maximum(1e-300, np.abs(centre))
    scale = np.where(usable, spread, 1.0)
    z = np.where(usable, (x - centre) / scale, 0.0)
    w = y - y.mean()
    if not w.any():
        return
    kept, unexplained = _ordinary_rows(z, w)
    if unexplained > MAX_UNEXPLAINED_BY_ALL:
        return
    for sets in _beam(z[kept], w[kept] - w[kept].mean(), most):
        if not sets:
            continue  # least squares explain too little for any to be exact
        fits = [_consensus(z[:, list(s)], y, tolerance) for s in sets[:TRIED]]
        found = []
        for features, (coefficients, constant, share) in zip(sets, fits, strict=False):
            if share >= least:
                at = list(features)
                raw = coefficients / scale[at]
                shift = constant - float(raw @ centre[at])
                found.append(Fit(features, raw, shift, share))
        if found:
            yield sorted(found, key=lambda fit: -fit.share)


def _ordinary_rows(z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the rows that a least-squares fit to the others explains best.

    So exceptions, which may be far away, do not lead the search astray.

    Args:
        z: Standardised features, (n, features).
        w: The centred numbers, (n,).

    Returns:
        The indices of the rows, and the share of the variance in them that all features
        leave unexplained; 0 if there are too many features to fit all of them.
    """
    strength = np.abs(z.T @ w)
    strongest = np.argsort(-strength, kind="stable")[: len(w) // 6]
    design = np.c_[z[:, strongest], np.ones(len(w))]
    kept = np.arange(len(w))
    errors = w
    for _ in range(3):
        own = design[kept]
        gram = own.T @ own
        gram[np.diag_indices_from(gram)] += RIDGE * len(kept)
        errors = np.abs(w - design @ np.linalg.solve(gram, own.T @ w[kept]))
        kept = np.sort(np.argsort(errors, kind="stable")[: int(ORDINARY * len(w))])
    if len(strongest) < z.shape[1]:
        return kept, 0.0
    variance = float(w[kept].var())
    return kept, float((errors[kept] ** 2).mean()) / variance if variance else 0.0


def _beam(z: np.ndarray, w: np.ndarray, most: int) -> Iterator[list[tuple[int, ...]]]:
    """Yield the sets of each size with the smallest squared errors, best first."""
    moments, total = z.T @ w, float(w @ w)
    gram = Gram(z)
    rows = len(w)
    beam: list[tuple[int, ...]] = [()]
    for _ in range(min(most, z.shape[1])):
        errors: dict[tuple[int, ...], float] = {}
        left, slopes, explained = _projections(gram, moments, np.array(beam, int))
        free = left > MIN_RESIDUAL * rows
        for at, features in enumerate(beam):
            free[at, list(features)] = False
        gains = np.where(free, slopes**2 / np.where(free, left, 1.0), -1.0)
        for at, features in enumerate(beam):
            for j in _largest(gains[at], 4 * WIDTH):
                if gains[at, j] <= 0:
                    break
                key = tuple(sorted((*features, j)))
                errors[key] = total - explained[at] - float(gains[at, j])
        beam = sorted(errors, key=lambda key: (errors[key], key))[:WIDTH]
        if not beam:
            return
        unexplained = errors[beam[0]] / total
        if unexplained > 1 - MIN_EXPLAINED and len(beam[0]) > 2:
            return
        yield beam if unexplained <= MAX_UNEXPLAINED else []


class Gram:
    """Products of features, of which a search needs those of few features.

    Args:
        z: The features, (n, features).
    """

    def __init__(self, z: np.ndarray) -> None:
        self._z = z
        self._rows: dict[int, np.ndarray] = {}
        self.diagonal: np.ndarray = np.einsum("ij,ij->j", z, z)

    def __getitem__(self, features: np.ndarray) -> np.ndarray:
        """Return the products of features (...) with all, (..., features)."""
        unknown = sorted(set(features.ravel().tolist()) - self._rows.keys())
        if unknown:
            products = self._z[:, unknown].T @ self._z
            self._rows |= dict(zip(unknown, products, strict=True))
        shape = (*features.shape, self._z.shape[1])
        found = [self._rows[j] for j in features.ravel().tolist()]
        return np.array(found).reshape(shape)


def _largest(values: np.ndarray, count: int) -> list[int]:
    """Return the indices of the largest values, the largest first."""
    found = np.arange(len(values))
    if count < len(values):
        found = np.sort(np.argpartition(-values, count)[:count])
    order: list[int] = found[np.argsort(-values[found], kind="stable")].tolist()
    return order


def _projections(
    gram: Gram, moments: np.ndarray, sets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return what fits to sets of k features leave of all features and of the numbers.

    Args:
        gram: Products of features.
        moments: Products of features and numbers, (features,).
        sets: Indices of the features of each set, (sets, k).

    Returns:
        The squares of the features' residuals, (sets, features); the products of the
        residuals of features and numbers, (sets, features); the explained squares of
        the numbers of each set.
    """
    across = gram[sets]  # (sets, k, features)
    own = np.take_along_axis(across, sets[:, None, :], axis=2)  # (sets, k, k)
    own_moments = moments[sets]  # (sets, k)
    inverse = np.linalg.pinv(own, rcond=1e-14, hermitian=True)
    left = gram.diagonal - (across * (inverse @ across)).sum(axis=1)
    solved = np.einsum("skl,sl->sk", inverse, own_moments)
    slopes = moments - np.einsum("skj,sk->sj", across, solved)
    return left, slopes, (own_moments * solved).sum(axis=1).tolist()


def _consensus(
    z: np.ndarray, y: np.ndarray, tolerance: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Return coefficients, constant and share of agreeing rows of a robust fit."""
    rows, count = z.shape
    design = np.c_[z, np.ones(rows)]
    rng = np.random.default_rng(0)
    low, high = np.quantile(y, [0.1, 0.9])
    coarse = np.maximum(2 * tolerance, COARSE * (high - low or float(np.ptp(y))))
    picked = rng.integers(0, rows, (SUBSETS, count + 4))
    solved = np.linalg.pinv(design[picked]) @ y[picked][..., None]
    residuals = np.abs(y - (design @ solved[..., 0].T).T)
    agreeing = (residuals <= coarse).mean(axis=1)
    best = solved[int(np.argmax(agreeing)), :, 0]
    for width in (coarse, coarse, 2 * tolerance, 1.5 * tolerance, 1.2 * tolerance):
        inside = np.abs(y - design @ best) <= width + 1e-9 * np.abs(y)
        if inside.sum() < count + 8:
            break
        best = np.linalg.lstsq(design[inside], y[inside], rcond=None)[0]
    inside = np.abs(y - design @ best) <= 1.2 * tolerance + 1e-9 * np.abs(y)
    return best[:-1], float(best[-1]), float(inside.mean())

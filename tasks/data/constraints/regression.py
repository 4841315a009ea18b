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
    kept = _ordinary_rows(z, w)
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


def _ordinary_rows(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the rows that a least-squares fit to the others explains best.

    So exceptions, which may be far away, do not lead the search astray.
    """
    strength = np.abs(z.T @ w)
    strongest = np.argsort(-strength, kind="stable")[: len(w) // 6]
    design = np.c_[z[:, strongest], np.ones(len(w))]
    kept = np.arange(len(w))
    for _ in range(3):
        fit = np.linalg.lstsq(design[kept], w[kept], rcond=1e-8)[0]
        errors = np.abs(w - design @ fit)
        kept = np.sort(np.argsort(errors, kind="stable")[: int(ORDINARY * len(w))])
    return kept


def _beam(z: np.ndarray, w: np.ndarray, most: int) -> Iterator[list[tuple[int, ...]]]:
    """Yield the sets of each size with the smallest squared errors, best first."""
    gram, moments, total = z.T @ z, z.T @ w, float(w @ w)
    rows = len(w)
    beam: list[tuple[int, ...]] = [()]
    for _ in range(min(most, z.shape[1])):
        errors: dict[tuple[int, ...], float] = {}
        for features in beam:
            own = list(features)
            left, slopes = np.diagonal(gram).copy(), moments.copy()
            explained = 0.0
            if own:
                solved = np.linalg.lstsq(
                    gram[np.ix_(own, own)], np.c_[gram[own], moments[own]], rcond=None
                )[0]
                left = left - np.einsum("kj,kj->j", gram[own], solved[:, :-1])
                slopes = slopes - gram[:, own] @ solved[:, -1]
                explained = float(moments[own] @ solved[:, -1])
            free = left > MIN_RESIDUAL * rows
            free[own] = False
            gains = np.where(free, slopes**2 / np.where(free, left, 1.0), -1.0)
            for j in np.argsort(-gains)[: 4 * WIDTH].tolist():
                if gains[j] > 0:
                    key = tuple(sorted((*features, j)))
                    errors[key] = total - explained - float(gains[j])
        beam = sorted(errors, key=lambda key: (errors[key], key))[:WIDTH]
        if not beam:
            return
        unexplained = errors[beam[0]] / total
        if unexplained > 1 - MIN_EXPLAINED and len(beam[0]) > 2:
            return
        yield beam if unexplained <= MAX_UNEXPLAINED else []


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

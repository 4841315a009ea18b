"""Input features of numbers as a compiled kernel for CPUs."""

import numpy as np
from numpy.typing import NDArray

from ar_models.kernels.compiled import jit

Numbers = NDArray[np.float32]


@jit
def encode_numbers(
    x: Numbers,
    location: Numbers,
    scale: Numbers,
    limits: Numbers,
    knots: Numbers,
    atoms: Numbers,
    places: Numbers,
    result: Numbers,
) -> None:
    """Compute the features of `layers.features.NumberFeatures`, 0 where `x` is NaN.

    Args:
        x: Values, (n, count).
        location: Subtracted from values, (count,).
        scale: Divides values, (count,).
        limits: Scaled values beyond these are compressed, (count, 2).
        knots: Bounds of the bins, (count, bins + 1); (count, 0) without bins.
        atoms: Values with a feature of their own, (count, atoms).
        places: Powers of ten of the digits, (count, digits).
        result: Filled with features, (n, count, features).
    """
    rows, count = x.shape
    bins, masses = max(knots.shape[1] - 1, 0), atoms.shape[1]
    digits = places.shape[1]
    for i in range(rows):
        for j in range(count):
            own, value = result[i, j], x[i, j]
            if np.isnan(value):
                own[:] = 0
                continue
            z = (value - location[j]) / scale[j]
            inside = min(max(z, limits[j, 0]), limits[j, 1])
            own[0] = inside if inside == z else inside + np.arcsinh(z - inside)
            pieces = own[1 : 1 + bins]
            for k in range(bins):
                left = knots[j, k]
                share = (value - left) / (knots[j, k + 1] - left)
                pieces[k] = min(max(share, np.float32(0)), np.float32(1))
            at_atoms = own[1 + bins : 1 + bins + masses]
            for k in range(masses):
                at_atoms[k] = value == atoms[j, k]
            each = own[1 + bins + masses :]
            each[:] = 0
            for k in range(digits):
                # In float64, where no tenth of an integer is rounded to another one.
                shifted = np.floor(np.float64(value / places[j, k]))
                digit = shifted - 10 * np.floor(shifted / 10)
                if digit >= 0 and digit <= 9:  # not of infinity, nor beyond 2^53
                    each[10 * k + int(digit)] = 1


@jit
def encode_intervals(
    x: Numbers,
    constants: Numbers,
    knots: Numbers,
    atoms: Numbers,
    places: Numbers,
    ends: Numbers,
    result: Numbers,
) -> None:
    """Compute the features of `layers.features.IntervalFeatures`, 0 where `x` is NaN.

    Args:
        x: Values, (n, count).
        constants: Location, scale and limits of each variable, (count, 4).
        knots: See `encode_numbers`; the others likewise.
        atoms: Values with a feature of their own.
        places: Powers of ten of the digits.
        ends: Ascending ends of the leaves, (count, leaves).
        result: Filled with features, (n, count, features).
    """
    rows, count = x.shape
    leaves = ends.shape[1]
    numbers = result.shape[2] - leaves - 100
    encode_numbers(
        x,
        constants[:, 0],
        constants[:, 1],
        constants[:, 2:],
        knots,
        atoms,
        places,
        result[:, :, :numbers],
    )
    for i in range(rows):
        for j in range(count):
            own, value = result[i, j, numbers:], x[i, j]
            own[:] = 0
            if np.isnan(value):
                continue
            leaf = np.searchsorted(ends[j], value, side="right")
            own[min(leaf, leaves - 1)] = 1
            shifted = np.floor(np.float64(value) / 100)
            last = np.float64(value) - 100 * shifted
            if last >= 0 and last <= 99:  # not of infinity
                own[leaves + int(last)] = 1

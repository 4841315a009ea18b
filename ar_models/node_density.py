"""The rule of `ar_models.entropy` as compiled loops, for processors.

An entropy is some hundreds of powers and logarithms of numbers that are needed once.
Here they stay in registers, and both are an exponent and a polynomial: to 1e-6 of
themselves, where the rule is exact to some percent.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ar_models.compiled import compiled

Numbers = NDArray[np.float32]

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)

LOG_2 = np.float32(np.log(2))

BITS = np.float32(1 / np.log(2))

# Of Taylor's series of 2^f for |f| <= 1/2, ln(2)^k / k!; and of that of ln.
P2, P3, P4, P5, P6 = (
    np.float32(np.log(2) ** k / np.prod(range(1, k + 1))) for k in range(2, 7)
)
L3, L5, L7, L9 = (np.float32(2 / k) for k in (3, 5, 7, 9))

LEAST_POWER = np.float32(-100)
LEAST = np.float32(1e-37)
"""Smaller powers and densities are as good as these, and would be slow."""

TINY = np.float32(1e-6)
"""Shares of a component are taken to be at least so far from 0 and 1."""

ROOT_TAU = np.float32((2 * np.pi) ** 0.5)


def _as_float(context: Any, bits: Any) -> Any:
    """The float32 that an int32 is, bit by bit."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


def _as_bits(context: Any, number: Any) -> Any:
    """The way back."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


as_float: Any = intrinsic(_as_float)
as_bits: Any = intrinsic(_as_bits)


@compiled
def power_of_2(t: Any) -> Any:
    """2 to the power of t, which is at most 0."""
    t = max(t, LEAST_POWER)
    whole = np.rint(t)
    f = t - whole
    p = P2 + f * (P3 + f * (P4 + f * (P5 + f * P6)))
    p = ONE + f * (LOG_2 + f * p)
    return p * as_float((np.int32(whole) + np.int32(127)) << np.int32(23))


@compiled
def logarithm(x: Any) -> Any:
    """The natural logarithm of x, which is at least LEAST."""
    bits = as_bits(x)
    # The exponent such that what remains is between 0.7 and 1.4, about 1.
    exponent = (bits - np.int32(0x3F350000)) >> np.int32(23)
    m = as_float(bits - (exponent << np.int32(23)))
    s = (m - ONE) / (m + ONE)
    q = s * s
    series = TWO + q * (L3 + q * (L5 + q * (L7 + q * L9)))
    return np.float32(exponent) * LOG_2 + s * series


@compiled
def of_normals(
    weight: Numbers, location: Numbers, spread: Numbers, steps: Numbers, result: Numbers
) -> None:
    """Entropies of n mixtures of normals, see `entropy.of_normals`.

    Args:
        weight: (n, components); the next two the same.
        location: Means.
        spread: Standard deviations.
        steps: The nodes of a standard normal.
        result: Takes the entropies, (n,).
    """
    components, each = location.shape[1], len(steps)
    at = np.empty(components * each, np.float32)
    share, density = np.empty_like(at), np.empty_like(at)
    part = ONE / np.float32(each)
    for i in range(len(result)):
        for c in range(components):
            middle, wide, own = location[i, c], spread[i, c], weight[i, c] * part
            for k in range(each):
                at[c * each + k] = middle + wide * steps[k]
                share[c * each + k] = own
        density[:] = 0
        for c in range(components):
            middle = location[i, c]
            sharpness = np.sqrt(np.float32(0.5) * BITS) / spread[i, c]
            height = weight[i, c] / (spread[i, c] * ROOT_TAU)
            for r in range(len(at)):
                u = (at[r] - middle) * sharpness
                density[r] += height * power_of_2(-u * u)
        total = ZERO
        for r in range(len(at)):
            total -= share[r] * logarithm(max(density[r], LEAST))
        result[i] = total


@compiled
def of_logistics(
    weight: Numbers,
    location: Numbers,
    spread: Numbers,
    below: Numbers,
    inside: Numbers,
    double_cosh: Numbers,
    double_sinh: Numbers,
    low: Numbers,
    high: Numbers,
    steps: Numbers,
    stretch: np.float32,
    result: Numbers,
) -> None:
    """What the integers between the bounds add, see `entropy.of_logistics`.

    Args:
        weight: (n, components); the next six the same.
        location: Medians.
        spread: Scales.
        below: Share of a component that lies below what is between the bounds.
        inside: Share that lies there.
        double_cosh: 2 cosh of half an integer in units of the scale.
        double_sinh: 2 sinh of it, times the weight.
        low: Least integer between the bounds, (n,).
        high: Greatest one, (n,).
        steps: The nodes, as shares of a standard logistic.
        stretch: By which they are too close together.
        result: Takes what is added, (n,).
    """
    components, each = location.shape[1], len(steps)
    at = np.empty(components * each, np.float32)
    share, mass = np.empty_like(at), np.empty_like(at)
    centre, wide = np.empty_like(at), np.empty_like(at)
    part = ONE / np.float32(each)
    for i in range(len(result)):
        least, most = low[i], max(low[i], high[i])
        for c in range(components):
            start, between = below[i, c], inside[i, c]
            own = weight[i, c] * between * part
            for k in range(each):
                p = start + between * steps[k]
                at[c * each + k] = min(max(p, TINY), ONE - TINY)
                share[c * each + k] = own
                centre[c * each + k] = location[i, c]
                wide[c * each + k] = spread[i, c] * stretch
        for r in range(len(at)):
            u = logarithm(at[r] / (ONE - at[r]))
            at[r] = min(max(np.rint(centre[r] + wide[r] * u), least), most)
        mass[:] = 0
        for c in range(components):
            middle, bits = location[i, c], BITS / spread[i, c]
            cosh, sinh = double_cosh[i, c], double_sinh[i, c]
            for r in range(len(at)):
                decay = power_of_2(-abs((at[r] - middle) * bits))
                mass[r] += decay * sinh / ((decay + cosh) * decay + ONE)
        total = ZERO
        for r in range(len(at)):
            total -= share[r] * logarithm(max(mass[r], LEAST))
        result[i] = total

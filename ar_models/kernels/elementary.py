"""Elementary functions of float32 numbers in compiled kernels.

Each is an exponent and a polynomial without a branch, so that a CPU computes several
numbers at once, where a library function is called for one at a time.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ar_models.kernels.compiled import jit

ZERO, HALF, ONE, TWO = (np.float32(k) for k in (0, 0.5, 1, 2))

LOG_2 = np.float32(np.log(2))

LOG2_E = np.float32(1 / np.log(2))

# Coefficients of the series of 2^f for |f| <= 1/2, of the logarithm and of sinh.
P2, P3, P4, P5, P6 = (
    np.float32(np.log(2) ** k / np.prod(range(1, k + 1))) for k in range(2, 7)
)
L3, L5, L7, L9 = (np.float32(2 / k) for k in (3, 5, 7, 9))
S3, S5, S7 = (np.float32(1 / k) for k in (6, 120, 5040))

MIN_EXPONENT = np.float32(-100)
MIN_POSITIVE = np.float32(1e-37)
"""Smaller powers and densities are replaced by this, as subnormal numbers are slow."""

BEND = np.float32(0.4)
# exp(x^2) erfc(x) is t times this polynomial of t = 1 / (1 + BEND x), to 3e-7 of itself
# for all x >= 0; fitted by least squares at Chebyshev nodes.
E0, E1, E2, E3, E4, E5, E6, E7, E8 = (
    np.float32(k)
    for k in (
        0.22567586600780487,
        0.2256697714328766,
        0.20783858001232147,
        0.16857817769050598,
        0.14127734303474426,
        -0.005255409982055426,
        0.16864386200904846,
        -0.18261533975601196,
        0.05018728971481323,
    )
)
ROOT_HALF = np.float32(0.5**0.5)


def _as_float(context: Any, bits: Any) -> Any:
    """Reinterpret the bits of an int32 as a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


def _as_bits(context: Any, number: Any) -> Any:
    """Reinterpret the bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


as_float: Any = intrinsic(_as_float)
as_bits: Any = intrinsic(_as_bits)


@jit
def exp2(t: Any) -> Any:
    """Compute 2 to the power of t, which must be at most 126."""
    t = max(t, MIN_EXPONENT)
    whole = np.rint(t)
    f = t - whole
    p = P2 + f * (P3 + f * (P4 + f * (P5 + f * P6)))
    p = ONE + f * (LOG_2 + f * p)
    return p * as_float((np.int32(whole) + np.int32(127)) << np.int32(23))


@jit
def log(x: Any) -> Any:
    """Compute the natural logarithm of x, which must be at least `MIN_POSITIVE`."""
    bits = as_bits(x)
    # The exponent such that what remains is between 0.7 and 1.4, about 1.
    exponent = (bits - np.int32(0x3F350000)) >> np.int32(23)
    m = as_float(bits - (exponent << np.int32(23)))
    s = (m - ONE) / (m + ONE)
    q = s * s
    series = TWO + q * (L3 + q * (L5 + q * (L7 + q * L9)))
    return np.float32(exponent) * LOG_2 + s * series


@jit
def softplus(t: Any) -> Any:
    """Compute log(1 + exp t)."""
    return max(t, ZERO) + log(ONE + exp2(-abs(t) * LOG2_E))


@jit
def log_2sinh(d: Any) -> Any:
    """Compute log(2 sinh d) for d > 0."""
    square = d * d
    near = TWO * d * (ONE + square * (S3 + square * (S5 + square * S7)))
    # Without the factor e^d, so that it is at most one.
    far = ONE - exp2(-TWO * d * LOG2_E)
    return log(near if d < HALF else far) + (ZERO if d < HALF else d)


@jit
def log_erfc(x: Any) -> Any:
    """Compute log(erfc x) for x >= 0, also where erfc x rounds to 0."""
    t = ONE / (ONE + BEND * x)
    p = E4 + t * (E5 + t * (E6 + t * (E7 + t * E8)))
    p = E0 + t * (E1 + t * (E2 + t * (E3 + t * p)))
    return log(t * p) - x * x

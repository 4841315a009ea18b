"""Mixtures of many rows as compiled loops, for processors.

What a mixture gives is made of some hundreds of powers and logarithms of numbers that
are needed once. As operations on whole batches each would go through memory; here a few
rows of a variable stay in registers and the nearest cache, from the network's output to
the result. `ar_models.conditionals` holds the definitions, and the rule of entropies is
that of `ar_models.entropy`.

Parameters are (n, count, width), row-contiguous float32: log-weights that are not
normalised (of atoms, then of components), locations, raw log-scales.

Every loop makes its own arrays, apart: of arrays that come from one place a compiler
cannot know that they do not overlap, and computes one number at a time, which was
measured to take seven times as long.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ar_models.compiled import compiled
from ar_models.elementary import (
    BITS,
    HALF,
    LEAST,
    LOG_2,
    ONE,
    ROOT_HALF,
    S3,
    S5,
    S7,
    TWO,
    ZERO,
    log_double_sinh,
    log_erfc,
    logarithm,
    power_of_2,
    softplus,
)

Numbers = NDArray[np.float32]

ROWS = 32
"""Rows that are looked at together."""

TINY = np.float32(1e-6)
"""Shares of a component are taken to be at least so far from 0 and 1."""

MOST_HALF = np.float32(40)
"""Half an integer is taken to be at most so many scales."""

ROOT_TAU = np.float32((2 * np.pi) ** 0.5)

ABSENT = np.float32(-1e30)
"""The logarithm of nothing, with which sums can go on; less than `NOTHING`, which …"""

NOTHING = np.float32(-1e29)
"""… no logarithm of something is."""


@compiled
def take(
    parameters: Numbers, first: int, j: int, start: int, into: Numbers, wrong: Numbers
) -> None:
    """Takes numbers of variable `j`, (numbers, ROWS), of rows from `first` on.

    The last row stands for those after it. To `wrong` (ROWS,) NaN is added where a
    number is none, as comparisons would lose it.
    """
    last = len(parameters) - 1
    for c in range(len(into)):
        for r in range(ROWS):
            into[c, r] = parameters[min(first + r, last), j, start + c]
        for r in range(ROWS):
            wrong[r] += into[c, r] * ZERO


@compiled
def give(result: Numbers, first: int, j: int, values: Numbers, wrong: Numbers) -> None:
    """Values (ROWS,) of variable `j` to the rows from `first` on, as far as there."""
    for r in range(min(ROWS, len(result) - first)):
        value = values[r]
        result[first + r, j] = (-np.inf if value <= NOTHING else value) + wrong[r]


@compiled
def log_sum(terms: Numbers, result: Numbers, total: Numbers) -> None:
    """Logarithms of sums of powers of e: (n, ROWS) to `result` (ROWS,)."""
    result[:] = ABSENT
    for c in range(len(terms)):
        for r in range(ROWS):
            result[r] = max(result[r], terms[c, r])
    total[:] = 0
    for c in range(len(terms)):
        for r in range(ROWS):
            total[r] += power_of_2((terms[c, r] - result[r]) * BITS)
    for r in range(ROWS):
        result[r] += logarithm(total[r])


@compiled
def normalise(logits: Numbers, top: Numbers, total: Numbers) -> None:
    """Makes logits (n, ROWS) log-shares."""
    log_sum(logits, top, total)
    for c in range(len(logits)):
        for r in range(ROWS):
            logits[c, r] -= top[r]


@compiled
def bend(raw: Numbers, floor: np.float32, ceiling: np.float32) -> None:
    """Makes raw log-scales (n, ROWS) log-scales, see `conditionals.Mixture`."""
    for c in range(len(raw)):
        for r in range(ROWS):
            t = raw[c, r]
            raw[c, r] = floor + softplus(t - floor) - softplus(t - ceiling)


@compiled
def load(
    parameters: Numbers,
    first: int,
    j: int,
    floor: np.float32,
    ceiling: np.float32,
    logits: Numbers,
    location: Numbers,
    spread: Numbers,
    wrong: Numbers,
) -> None:
    """Takes the mixtures of variable `j`, of rows from `first` on.

    Args:
        parameters: Of all variables.
        first: Number of the first row.
        j: Number of the variable.
        floor: Of its log-scales.
        ceiling: Of them.
        logits: Becomes log-weights, of atoms and components, (…, ROWS).
        location: Becomes locations, (components, ROWS).
        spread: Becomes log-scales, (components, ROWS).
        wrong: Becomes 0, or NaN where a parameter is no number, (ROWS,).
    """
    every, components = len(logits), len(location)
    top, total = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    wrong[:] = 0
    take(parameters, first, j, 0, logits, wrong)
    take(parameters, first, j, every, location, wrong)
    take(parameters, first, j, every + components, spread, wrong)
    normalise(logits, top, total)
    bend(spread, floor, ceiling)


@compiled
def log_prob_of_normals(
    parameters: Numbers,
    z: Numbers,
    floor: Numbers,
    ceiling: np.float32,
    result: Numbers,
) -> None:
    """Log-densities of `conditionals.Real`, but for its constant.

    Args:
        parameters: (n, count, 3 components).
        z: Values in scaled units, (n, count).
        floor: (count,).
        ceiling: A number.
        result: (n, count).
    """
    rows, count, width = parameters.shape
    components = width // 3
    shape = components, ROWS
    logits, location = np.empty(shape, np.float32), np.empty(shape, np.float32)
    spread = np.empty(shape, np.float32)
    values, total = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    wrong, at = np.empty(ROWS, np.float32), np.empty((1, ROWS), np.float32)
    matrix = z.reshape(rows, count, 1)
    for first in range(0, rows, ROWS):
        for j in range(count):
            limits = floor[j], ceiling
            load(parameters, first, j, *limits, logits, location, spread, wrong)
            take(matrix, first, j, 0, at, wrong)
            for c in range(components):
                for r in range(ROWS):
                    own = spread[c, r]
                    u = (at[0, r] - location[c, r]) * power_of_2(-own * BITS)
                    logits[c, r] -= HALF * u * u + own
            log_sum(logits, values, total)
            give(result, first, j, values, wrong)


@compiled
def log_sides_of_normals(
    parameters: Numbers,
    z: Numbers,
    floor: Numbers,
    ceiling: np.float32,
    below: Numbers,
    above: Numbers,
) -> None:
    """Log-probabilities of less and of more than a value, of `conditionals.Real`.

    Args:
        parameters: As in `log_prob_of_normals`; the next three the same.
        z: Values in scaled units.
        floor: Of log-scales.
        ceiling: Of them.
        below: Takes those of less, (n, count).
        above: Those of more.
    """
    rows, count, width = parameters.shape
    components = width // 3
    shape = components, ROWS
    logits, location = np.empty(shape, np.float32), np.empty(shape, np.float32)
    spread = np.empty(shape, np.float32)
    values, total = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    wrong, at = np.empty(ROWS, np.float32), np.empty((1, ROWS), np.float32)
    matrix = z.reshape(rows, count, 1)
    for first in range(0, rows, ROWS):
        for j in range(count):
            limits = floor[j], ceiling
            load(parameters, first, j, *limits, logits, location, spread, wrong)
            take(matrix, first, j, 0, at, wrong)
            for c in range(components):
                for r in range(ROWS):
                    sharpness = power_of_2(-spread[c, r] * BITS)
                    u = (at[0, r] - location[c, r]) * sharpness
                    lesser = log_erfc(abs(u) * ROOT_HALF) - LOG_2
                    greater = logarithm(ONE - power_of_2(lesser * BITS))
                    less, more = lesser, greater
                    if u > ZERO:
                        less, more = greater, lesser
                    share = logits[c, r]
                    location[c, r] = share + less
                    logits[c, r] = share + more
            log_sum(location, values, total)
            give(below, first, j, values, wrong)
            log_sum(logits, values, total)
            give(above, first, j, values, wrong)


@compiled
def log_prob_of_logistics(
    parameters: Numbers,
    x: Numbers,
    floor: Numbers,
    ceiling: np.float32,
    constants: Numbers,
    atoms: Numbers,
    result: Numbers,
) -> None:
    """Log-probabilities of `conditionals.Integer`.

    Args:
        parameters: (n, count, atoms + 3 components).
        x: Integers, (n, count).
        floor: (count,).
        ceiling: A number.
        constants: Location, scale, lower and upper bound, (count, 4).
        atoms: (count, atoms).
        result: (n, count).
    """
    rows, count, width = parameters.shape
    masses = atoms.shape[1]
    components = (width - masses) // 3
    every = masses + components
    logits = np.empty((every, ROWS), np.float32)
    location = np.empty((components, ROWS), np.float32)
    spread = np.empty((components, ROWS), np.float32)
    values, total = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    wrong, at = np.empty(ROWS, np.float32), np.empty((1, ROWS), np.float32)
    matrix = x.reshape(rows, count, 1)
    for first in range(0, rows, ROWS):
        for j in range(count):
            limits = floor[j], ceiling
            load(parameters, first, j, *limits, logits, location, spread, wrong)
            take(matrix, first, j, 0, at, wrong)
            for c in range(masses):
                for r in range(ROWS):
                    if at[0, r] != atoms[j, c]:
                        logits[c, r] = ABSENT
            middle, scale, lower, upper = constants[j]
            for c in range(components):
                for r in range(ROWS):
                    value = at[0, r]
                    sharpness = power_of_2(-spread[c, r] * BITS)
                    u = ((value - middle) / scale - location[c, r]) * sharpness
                    d = HALF * sharpness / scale
                    power = power_of_2(d * BITS)
                    decay = power_of_2(-abs(u) * BITS)
                    within = (decay + power + ONE / power) * decay + ONE
                    inside = log_double_sinh(d) - abs(u) - logarithm(within)
                    low, high = value <= lower, value >= upper
                    beyond = -softplus(-(u + d) if low else u - d)
                    mass = beyond if low | high else inside
                    mass = ZERO if low & high else mass
                    logits[masses + c, r] += mass
            log_sum(logits, values, total)
            give(result, first, j, values, wrong)


@compiled
def log_sides_of_logistics(
    parameters: Numbers,
    x: Numbers,
    floor: Numbers,
    ceiling: np.float32,
    constants: Numbers,
    atoms: Numbers,
    below: Numbers,
    above: Numbers,
) -> None:
    """Log-probabilities of less and of more, of `conditionals.Integer`.

    Args:
        parameters: As in `log_prob_of_logistics`; the next five the same.
        x: Integers.
        floor: Of log-scales.
        ceiling: Of them.
        constants: Location, scale, lower and upper bound.
        atoms: Where they stand.
        below: Takes those of less, (n, count).
        above: Those of more.
    """
    rows, count, width = parameters.shape
    masses = atoms.shape[1]
    components = (width - masses) // 3
    every = masses + components
    logits = np.empty((every, ROWS), np.float32)
    less, more = np.empty_like(logits), np.empty_like(logits)
    location = np.empty((components, ROWS), np.float32)
    spread = np.empty((components, ROWS), np.float32)
    values, total = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    wrong, at = np.empty(ROWS, np.float32), np.empty((1, ROWS), np.float32)
    matrix = x.reshape(rows, count, 1)
    for first in range(0, rows, ROWS):
        for j in range(count):
            limits = floor[j], ceiling
            load(parameters, first, j, *limits, logits, location, spread, wrong)
            take(matrix, first, j, 0, at, wrong)
            for c in range(masses):
                place = atoms[j, c]
                for r in range(ROWS):
                    value, share = at[0, r], logits[c, r]
                    less[c, r] = share if place < value else ABSENT
                    more[c, r] = share if place > value else ABSENT
            middle, scale, lower, upper = constants[j]
            for c in range(components):
                for r in range(ROWS):
                    value, share = at[0, r], logits[masses + c, r]
                    sharpness = power_of_2(-spread[c, r] * BITS)
                    u = ((value - middle) / scale - location[c, r]) * sharpness
                    d = HALF * sharpness / scale
                    under = share - softplus(d - u)
                    over = share - softplus(d + u)
                    less[masses + c, r] = under if value > lower else ABSENT
                    more[masses + c, r] = over if value < upper else ABSENT
            log_sum(less, values, total)
            give(below, first, j, values, wrong)
            log_sum(more, values, total)
            give(above, first, j, values, wrong)


@compiled
def entropy_of_normals(
    parameters: Numbers,
    floor: Numbers,
    ceiling: np.float32,
    steps: Numbers,
    result: Numbers,
) -> None:
    """Entropies of `conditionals.Real` in scaled units, see `entropy.of_normals`.

    Args:
        parameters: (n, count, 3 components).
        floor: Of log-scales, (count,).
        ceiling: Of them, a number.
        steps: The nodes of a standard normal.
        result: (n, count).
    """
    rows, count, width = parameters.shape
    components = width // 3
    shape = components, ROWS
    weight, location = np.empty(shape, np.float32), np.empty(shape, np.float32)
    spread = np.empty(shape, np.float32)
    sharpness, height = np.empty_like(spread), np.empty_like(spread)
    values, wrong = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    at, density = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    part, unit = ONE / np.float32(len(steps)), np.sqrt(HALF * BITS)
    for first in range(0, rows, ROWS):
        for j in range(count):
            limits = floor[j], ceiling
            load(parameters, first, j, *limits, weight, location, spread, wrong)
            for c in range(components):
                for r in range(ROWS):
                    share = power_of_2(weight[c, r] * BITS)
                    narrow = power_of_2(-spread[c, r] * BITS)
                    weight[c, r] = share
                    spread[c, r] = ONE / narrow
                    sharpness[c, r] = unit * narrow
                    height[c, r] = share * narrow / ROOT_TAU
            values[:] = 0
            for own in range(components):
                for step in steps:
                    for r in range(ROWS):
                        at[r] = location[own, r] + spread[own, r] * step
                    density[:] = 0
                    for c in range(components):
                        for r in range(ROWS):
                            u = (at[r] - location[c, r]) * sharpness[c, r]
                            density[r] += height[c, r] * power_of_2(-u * u)
                    for r in range(ROWS):
                        surprisal = -logarithm(max(density[r], LEAST))
                        values[r] += weight[own, r] * part * surprisal
            give(result, first, j, values, wrong)


@compiled
def sigmoid(t: Any) -> Any:
    """1 / (1 + exp(-t))."""
    decay = power_of_2(-abs(t) * BITS)
    return (ONE if t > ZERO else decay) / (ONE + decay)


@compiled
def surprise(p: Any) -> Any:
    """-p log p, 0 of 0."""
    return -p * logarithm(max(p, LEAST))


@compiled
def masses_at(
    at: Numbers,
    location: Numbers,
    bits: Numbers,
    double_cosh: Numbers,
    double_sinh: Numbers,
    mass: Numbers,
) -> None:
    """Masses of a mixture at integers that are not bounds, (ROWS,) to `mass`."""
    mass[:] = 0
    for c in range(len(location)):
        for r in range(ROWS):
            decay = power_of_2(-abs((at[r] - location[c, r]) * bits[c, r]))
            within = (decay + double_cosh[c, r]) * decay + ONE
            mass[r] += decay * double_sinh[c, r] / within


@compiled
def outline(
    constants: Numbers,
    weight: Numbers,
    location: Numbers,
    spread: Numbers,
    below: Numbers,
    inside: Numbers,
    bits: Numbers,
    double_cosh: Numbers,
    double_sinh: Numbers,
) -> None:
    """What `masses_at` and nodes want to know of components, (components, ROWS) each.

    Args:
        constants: The variable's location, scale, lower and upper bound.
        weight: The components' shares.
        location: In scaled units; becomes that in integers.
        spread: The logarithm of the scale; becomes the scale in integers.
        below: Takes the share of a component at or below the lower bound.
        inside: Takes the share between the bounds.
        bits: Takes what makes a distance an exponent of 2.
        double_cosh: Takes 2 cosh of half an integer in units of the scale.
        double_sinh: Takes 2 sinh of it, times the weight.
    """
    middle, scale, lower, upper = constants
    for c in range(len(weight)):
        for r in range(ROWS):
            narrow = power_of_2(-spread[c, r] * BITS) / scale
            centre = middle + scale * location[c, r]
            location[c, r], spread[c, r] = centre, ONE / narrow
            bits[c, r] = BITS * narrow
            start = sigmoid((lower + HALF - centre) * narrow)
            end = sigmoid((upper - HALF - centre) * narrow)
            below[c, r], inside[c, r] = start, max(end - start, ZERO)
        for r in range(ROWS):
            d = min(HALF / spread[c, r], MOST_HALF)
            power, square = power_of_2(d * BITS), d * d
            near = TWO * d * (ONE + square * (S3 + square * (S5 + square * S7)))
            double_cosh[c, r] = power + ONE / power
            wide = near if d < HALF else power - ONE / power
            double_sinh[c, r] = weight[c, r] * wide


@compiled
def masses_on_bounds(
    constants: Numbers,
    weight: Numbers,
    location: Numbers,
    spread: Numbers,
    below: Numbers,
    at_low: Numbers,
    at_high: Numbers,
) -> None:
    """Masses at and beyond each bound, (ROWS,); all at the lower if both are one."""
    _, _, lower, upper = constants
    same = lower == upper
    at_low[:], at_high[:] = 0, 0
    for c in range(len(weight)):
        for r in range(ROWS):
            at_low[r] += weight[c, r] * (ONE if same else below[c, r])
        for r in range(ROWS):
            rest = sigmoid((location[c, r] - upper + HALF) / spread[c, r])
            at_high[r] += weight[c, r] * (ZERO if same else rest)


@compiled
def masses_beside(
    constants: Numbers,
    atoms: Numbers,
    shares: Numbers,
    negligible: np.float32,
    location: Numbers,
    bits: Numbers,
    double_cosh: Numbers,
    double_sinh: Numbers,
    at_low: Numbers,
    at_high: Numbers,
    beside: Numbers,
) -> None:
    """Masses of the components where the atoms stand, (atoms, ROWS) to `beside`.

    0 where the `shares` (atoms, ROWS) of the atoms, or what they leave, add up to no
    more than `negligible`: most columns are almost all atoms, or none.
    """
    _, _, lower, upper = constants
    total, at = np.zeros(ROWS, np.float32), np.empty(ROWS, np.float32)
    for c in range(len(shares)):
        for r in range(ROWS):
            total[r] += shares[c, r]
    overlap = 0
    for r in range(ROWS):
        some = (total[r] > negligible) & (total[r] < ONE - negligible)
        total[r] = ONE if some else ZERO
        overlap += some
    beside[:] = 0
    if overlap == 0:
        return
    for c in range(len(atoms)):
        mass = beside[c]
        at[:] = atoms[c]
        masses_at(at, location, bits, double_cosh, double_sinh, mass)
        if atoms[c] >= upper:
            mass[:] = at_high
        if atoms[c] <= lower:
            mass[:] = at_low
        for r in range(ROWS):
            mass[r] *= total[r]


@compiled
def entropy_of_logistics(
    parameters: Numbers,
    floor: Numbers,
    ceiling: np.float32,
    constants: Numbers,
    atoms: Numbers,
    steps: Numbers,
    stretch: np.float32,
    negligible: np.float32,
    result: Numbers,
) -> None:
    """Entropies of `conditionals.Integer`, see `entropy.of_logistics`.

    Args:
        parameters: (n, count, atoms + 3 components).
        floor: Of log-scales, (count,).
        ceiling: Of them, a number.
        constants: Location, scale, lower and upper bound, (count, 4).
        atoms: Where they stand, (count, atoms).
        steps: The nodes, as shares of a standard logistic.
        stretch: By which they are too close together.
        negligible: A share of atoms, or of the rest, whose overlap is left out.
        result: (n, count).
    """
    rows, count, width = parameters.shape
    masses = atoms.shape[1]
    components = (width - masses) // 3
    shares = np.empty((masses + components, ROWS), np.float32)
    of_atoms, weight = shares[:masses], shares[masses:]
    location = np.empty((components, ROWS), np.float32)
    spread, below = np.empty_like(location), np.empty_like(location)
    inside, bits = np.empty_like(location), np.empty_like(location)
    cosh, sinh = np.empty_like(location), np.empty_like(location)
    values, wrong = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    at, mass = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    at_low, at_high = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    beside = np.empty((masses, ROWS), np.float32)
    part = ONE / np.float32(len(steps))
    for first in range(0, rows, ROWS):
        for j in range(count):
            limits, own = (floor[j], ceiling), constants[j]
            load(parameters, first, j, *limits, shares, location, spread, wrong)
            for c in range(len(shares)):
                for r in range(ROWS):
                    shares[c, r] = power_of_2(shares[c, r] * BITS)
            outline(own, weight, location, spread, below, inside, bits, cosh, sinh)
            masses_on_bounds(own, weight, location, spread, below, at_low, at_high)
            for r in range(ROWS):
                values[r] = surprise(at_low[r]) + surprise(at_high[r])
            least, most = own[2] + ONE, max(own[2] + ONE, own[3] - ONE)
            for c in range(components):
                for step in steps:
                    for r in range(ROWS):
                        p = below[c, r] + inside[c, r] * step
                        p = min(max(p, TINY), ONE - TINY)
                        u = logarithm(p / (ONE - p)) * stretch
                        place = np.rint(location[c, r] + spread[c, r] * u)
                        at[r] = min(max(place, least), most)
                    masses_at(at, location, bits, cosh, sinh, mass)
                    for r in range(ROWS):
                        share = weight[c, r] * inside[c, r] * part
                        values[r] -= share * logarithm(max(mass[r], LEAST))
            curve = location, bits, cosh, sinh, at_low, at_high
            masses_beside(own, atoms[j], of_atoms, negligible, *curve, beside)
            for c in range(masses):
                for r in range(ROWS):
                    both = of_atoms[c, r] + beside[c, r]
                    values[r] += surprise(both) - surprise(beside[c, r])
            give(result, first, j, values, wrong)

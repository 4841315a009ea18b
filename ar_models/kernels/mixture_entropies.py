"""Entropies of mixtures as compiled kernels for CPUs.

The rule with nodes in every component is that of `ar_models.distributions.entropy`.
Arguments are those of `ar_models.kernels.mixtures`.
"""

from typing import Any

import numpy as np

from ar_models.kernels.blocks import ROWS, Numbers
from ar_models.kernels.compiled import inlined, jit
from ar_models.kernels.elementary import (
    HALF,
    LOG2_E,
    MIN_POSITIVE,
    ONE,
    S3,
    S5,
    S7,
    TWO,
    ZERO,
    exp2,
    log,
)
from ar_models.kernels.mixtures import for_each_block

CDF_MARGIN = np.float32(1e-6)
"""Minimum distance of the CDF at a node from 0 and 1."""

MAX_HALF_INTEGER = np.float32(40)
"""Maximum of half an integer divided by the scale of a component."""

ROOT_TAU = np.float32((2 * np.pi) ** 0.5)


@jit
def gaussian_entropy(
    parameters: Numbers,
    x: Numbers,
    constants: Numbers,
    atoms: Numbers,
    nodes: Numbers,
    results: Numbers,
) -> None:
    """Compute entropies of Gaussian mixtures in scaled units, in nats.

    Args:
        parameters: See `ar_models.kernels.mixtures`; the others likewise.
        x: Values, which are not used.
        constants: Constants of the variables.
        atoms: Atoms of the variables, of which there are none.
        nodes: Nodes of a standard normal distribution.
        results: (1, n, count).
    """
    for_each_block(_gaussian_entropy, nodes, parameters, x, constants, atoms, results)


@inlined
def _gaussian_entropy(
    nodes: Any,
    mixture: Any,
    value: Numbers,
    constants: Numbers,
    atoms: Numbers,
    output: Numbers,
) -> None:
    weight, location, scale = mixture
    sharpness, height = np.empty_like(scale), np.empty_like(scale)
    at, density = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    part, unit = ONE / np.float32(len(nodes)), np.sqrt(HALF * LOG2_E)
    entropy = np.zeros(ROWS, np.float32)
    for c in range(len(location)):
        for r in range(ROWS):
            share = exp2(weight[c, r] * LOG2_E)
            narrow = exp2(-scale[c, r] * LOG2_E)
            weight[c, r] = share
            scale[c, r] = ONE / narrow
            sharpness[c, r] = unit * narrow
            height[c, r] = share * narrow / ROOT_TAU
    for own in range(len(location)):
        for node in nodes:
            for r in range(ROWS):
                at[r] = location[own, r] + scale[own, r] * node
            density[:] = 0
            for c in range(len(location)):
                for r in range(ROWS):
                    u = (at[r] - location[c, r]) * sharpness[c, r]
                    density[r] += height[c, r] * exp2(-u * u)
            for r in range(ROWS):
                surprisal = -log(max(density[r], MIN_POSITIVE))
                entropy[r] += weight[own, r] * part * surprisal
    output[0] = entropy


@jit
def logistic_entropy(
    parameters: Numbers,
    x: Numbers,
    constants: Numbers,
    atoms: Numbers,
    nodes: Numbers,
    node_scale: np.float32,
    negligible: np.float32,
    results: Numbers,
) -> None:
    """Compute entropies of mixtures of atoms and discretised logistics, in nats.

    Args:
        parameters: See `ar_models.kernels.mixtures`; the others likewise.
        x: Values, which are not used.
        constants: Constants of the variables.
        atoms: Atoms of the variables.
        nodes: CDF of a standard logistic distribution at its nodes.
        node_scale: Factor of the quantiles at the nodes.
        negligible: Probability of the atoms, or of the components, below which their
            overlap is neglected.
        results: (1, n, count).
    """
    options = nodes, node_scale, negligible
    for_each_block(_logistic_entropy, options, parameters, x, constants, atoms, results)


@inlined
def _logistic_entropy(
    options: Any,
    mixture: Any,
    value: Numbers,
    constants: Numbers,
    atoms: Numbers,
    output: Numbers,
) -> None:
    nodes, node_scale, negligible = options
    shares, location, scale = mixture
    for c in range(len(shares)):
        for r in range(ROWS):
            shares[c, r] = exp2(shares[c, r] * LOG2_E)
    on_atoms, weight = shares[: len(atoms)], shares[len(atoms) :]
    below, inside = np.empty_like(location), np.empty_like(location)
    steepness = np.empty_like(location)
    _scale_to_integers(constants, location, scale, below, inside, steepness)
    cosh, sinh = np.empty_like(location), np.empty_like(location)
    _hyperbolic(weight, scale, cosh, sinh)
    at_low, at_high = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    _bound_masses(constants, weight, location, scale, below, at_low, at_high)
    entropy = np.empty(ROWS, np.float32)
    for r in range(ROWS):
        entropy[r] = surprise(at_low[r]) + surprise(at_high[r])
    at, mass = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    part = ONE / np.float32(len(nodes))
    least = constants[2] + ONE
    most = max(least, constants[3] - ONE)
    for c in range(len(location)):
        for node in nodes:
            for r in range(ROWS):
                p = below[c, r] + inside[c, r] * node
                p = min(max(p, CDF_MARGIN), ONE - CDF_MARGIN)
                u = log(p / (ONE - p)) * node_scale
                place = np.rint(location[c, r] + scale[c, r] * u)
                at[r] = min(max(place, least), most)
            _mass_between_bounds(at, location, steepness, cosh, sinh, mass)
            for r in range(ROWS):
                share = weight[c, r] * inside[c, r] * part
                entropy[r] -= share * log(max(mass[r], MIN_POSITIVE))
    components = location, steepness, cosh, sinh
    bounds = at_low, at_high
    _add_atoms(constants, atoms, on_atoms, negligible, components, bounds, entropy)
    output[0] = entropy


@inlined
def _add_atoms(
    constants: Numbers,
    atoms: Numbers,
    on_atoms: Numbers,
    negligible: np.float32,
    components: Any,
    bounds: Any,
    entropy: Numbers,
) -> None:
    """Add what atoms contribute to the entropies (ROWS,) of the components."""
    location, steepness, cosh, sinh = components
    at_low, at_high = bounds
    at, mass = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    overlap = np.zeros((len(atoms), ROWS), np.float32)
    mixed = np.empty(ROWS, np.float32)
    if _mixed_rows(on_atoms, negligible, mixed):
        for c in range(len(atoms)):
            at[:] = atoms[c]
            _mass_between_bounds(at, location, steepness, cosh, sinh, mass)
            if atoms[c] >= constants[3]:
                mass[:] = at_high
            if atoms[c] <= constants[2]:
                mass[:] = at_low
            for r in range(ROWS):
                overlap[c, r] = mass[r] * mixed[r]
    for c in range(len(atoms)):
        for r in range(ROWS):
            both = on_atoms[c, r] + overlap[c, r]
            entropy[r] += surprise(both) - surprise(overlap[c, r])


@jit
def sigmoid(t: Any) -> Any:
    """Compute 1 / (1 + exp(-t))."""
    decay = exp2(-abs(t) * LOG2_E)
    return (ONE if t > ZERO else decay) / (ONE + decay)


@jit
def surprise(p: Any) -> Any:
    """Compute -p log p, which is 0 for 0."""
    return -p * log(max(p, MIN_POSITIVE))


@jit
def _scale_to_integers(
    constants: Numbers,
    location: Numbers,
    scale: Numbers,
    below: Numbers,
    inside: Numbers,
    steepness: Numbers,
) -> None:
    """Convert components to integer units, (components, ROWS) each.

    Args:
        constants: Location, scale, lower and upper bound of the variable.
        location: In scaled units; becomes that in integers.
        scale: Log-scale in scaled units; becomes the scale in integers.
        below: Filled with the share of a component at or below the lower bound.
        inside: Filled with the share between the bounds.
        steepness: Filled with the inverse scales, for powers of 2.
    """
    middle, unit, lower, upper = constants[0], constants[1], constants[2], constants[3]
    for c in range(len(location)):
        for r in range(ROWS):
            narrow = exp2(-scale[c, r] * LOG2_E) / unit
            centre = middle + unit * location[c, r]
            location[c, r], scale[c, r] = centre, ONE / narrow
            steepness[c, r] = LOG2_E * narrow
            start = sigmoid((lower + HALF - centre) * narrow)
            end = sigmoid((upper - HALF - centre) * narrow)
            below[c, r], inside[c, r] = start, max(end - start, ZERO)


@jit
def _hyperbolic(
    weight: Numbers,
    scale: Numbers,
    double_cosh: Numbers,
    double_sinh: Numbers,
) -> None:
    """Compute what `_mass_between_bounds` needs of components, (components, ROWS).

    Args:
        weight: Weights of the components.
        scale: Scales, in integers.
        double_cosh: Filled with 2 cosh d, d being half an integer in scales.
        double_sinh: Filled with 2 sinh d times the weight.
    """
    for c in range(len(weight)):
        for r in range(ROWS):
            d = min(HALF / scale[c, r], MAX_HALF_INTEGER)
            power, square = exp2(d * LOG2_E), d * d
            near = TWO * d * (ONE + square * (S3 + square * (S5 + square * S7)))
            double_cosh[c, r] = power + ONE / power
            wide = near if d < HALF else power - ONE / power
            double_sinh[c, r] = weight[c, r] * wide


@jit
def _mass_between_bounds(
    at: Numbers,
    location: Numbers,
    steepness: Numbers,
    double_cosh: Numbers,
    double_sinh: Numbers,
    mass: Numbers,
) -> None:
    """Compute the masses (ROWS,) of mixtures at integers that are not bounds."""
    mass[:] = 0
    for c in range(len(location)):
        for r in range(ROWS):
            decay = exp2(-abs((at[r] - location[c, r]) * steepness[c, r]))
            within = (decay + double_cosh[c, r]) * decay + ONE
            mass[r] += decay * double_sinh[c, r] / within


@jit
def _bound_masses(
    constants: Numbers,
    weight: Numbers,
    location: Numbers,
    scale: Numbers,
    below: Numbers,
    at_low: Numbers,
    at_high: Numbers,
) -> None:
    """Compute the masses at and beyond the bounds; all at the lower one if equal."""
    lower, upper = constants[2], constants[3]
    same = lower == upper
    at_low[:], at_high[:] = 0, 0
    for c in range(len(weight)):
        for r in range(ROWS):
            at_low[r] += weight[c, r] * (ONE if same else below[c, r])
        for r in range(ROWS):
            rest = sigmoid((location[c, r] - upper + HALF) / scale[c, r])
            at_high[r] += weight[c, r] * (ZERO if same else rest)


@jit
def _mixed_rows(on_atoms: Numbers, negligible: np.float32, mixed: Numbers) -> Any:
    """Mark rows (1, else 0) where neither atoms nor components are negligible.

    Returns:
        Whether there are any: most columns are almost all atoms, or none.
    """
    mixed[:] = 0
    for c in range(len(on_atoms)):
        for r in range(ROWS):
            mixed[r] += on_atoms[c, r]
    some = 0
    for r in range(ROWS):
        both = (mixed[r] > negligible) & (mixed[r] < ONE - negligible)
        mixed[r] = ONE if both else ZERO
        some += both
    return some > 0

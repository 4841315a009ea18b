"""Probability integral transforms of cells by their predicted distributions."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.variables import Variable

Floats = NDArray[np.float64]

BINS = 1000
"""Number of equal bins of [0, 1] in which transforms are counted."""


@torch.inference_mode()
def integral_transforms(
    conditionals: Conditionals,
    x: Tensor,
    variables: Sequence[Variable],
    noise: Floats,
) -> Floats:
    """Return the probability integral transforms of columns, (n, columns).

    They are uniform on [0, 1] if the conditionals are those of the rows. The transform
    of a column of several variables descends through them: each divides what its
    predecessors leave of the unit interval; the probability of a discrete last one is
    divided at random (randomized transform). A column out of support has the noise.

    Args:
        conditionals: Conditionals of `x`.
        x: Encoded rows, (n, dim).
        variables: The variables of `x`.
        noise: Uniform random numbers, (n, columns).
    """
    at_most, mass = (
        conditionals.cdf(x).double(),
        conditionals.log_prob(x).double().exp(),
    )
    u = torch.from_numpy(noise.copy()).to(x.device)
    for i, variable in reversed(list(enumerate(variables))):
        rest = u[:, variable.column_index]
        inside = at_most[:, i] - mass[:, i] * (1 - rest)
        value = at_most[:, i] if variable.kind == "real" else inside
        u[:, variable.column_index] = torch.where(x[:, i].isnan(), rest, value)
    return np.asarray(u.clamp(0, 1).cpu().numpy())


def count_in_bins(u: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """Count numbers, (n,), in equal bins of [0, 1], (bins,)."""
    places = np.minimum((u * bins).astype(np.int64), bins - 1)
    return np.bincount(places, minlength=bins)

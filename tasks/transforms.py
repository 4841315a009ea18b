"""Probability integral transforms: where cells fall in what was predicted."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.conditionals import Conditionals
from ar_models.variables import Variable

Floats = NDArray[np.float64]


@torch.inference_mode()
def transforms(
    conditionals: Conditionals,
    x: Tensor,
    variables: Sequence[Variable],
    noise: Floats,
) -> Floats:
    """Probability integral transforms of columns, (n, columns): uniform if all is well.

    That of a column goes down its variables: what is left of the unit interval after
    one is divided by the next, and a last discrete one's share is divided at random. Of
    a column that escaped it is the noise itself.

    Args:
        conditionals: Of `x`.
        x: The variables of n rows, (n, dim).
        variables: What they are.
        noise: Uniform numbers, (n, columns).
    """
    at_most, mass = (
        conditionals.cdf(x).double(),
        conditionals.log_prob(x).double().exp(),
    )
    u = torch.from_numpy(noise.copy()).to(x.device)
    for i, variable in reversed(list(enumerate(variables))):
        rest = u[:, variable.part_of]
        inside = at_most[:, i] - mass[:, i] * (1 - rest)
        value = at_most[:, i] if variable.kind == "real" else inside
        u[:, variable.part_of] = torch.where(x[:, i].isnan(), rest, value)
    return np.asarray(u.clamp(0, 1).cpu().numpy())


def count(u: Floats, bins: int) -> NDArray[np.int64]:
    """How many of the numbers lie in each of so many equal parts of [0, 1]."""
    places = np.minimum((u * bins).astype(np.int64), bins - 1)
    return np.bincount(places, minlength=bins)

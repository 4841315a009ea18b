"""Texts that describe the values that a model expects of single variables."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals

NAMED = 3
"""Maximum number of codes that are named with their probabilities."""

SMALL = 0.05
"""Minimum probability of a named code, unless it is the likeliest one."""

QUANTILES = (0.05, 0.5, 0.95)
"""Lower end, median and upper end of the expected values of a number."""


def narrow(
    conditionals: Conditionals, variables: Sequence[int], at: Tensor
) -> Conditionals:
    """Return the conditionals of some variables, renumbered, in the rows `at`."""
    layout = conditionals.layout.select(variables)
    sources = conditionals.layout.source_index.to(at)
    places = at.new_empty(int(sources.max()) + 1)
    places[sources] = torch.arange(len(sources), device=at.device)
    columns = places[layout.source_index.to(at)]
    return Conditionals(layout, conditionals.parameters[at.unsqueeze(1), columns])


def quantiles(
    own: Conditionals,
    i: int,
    to_texts: Callable[[NDArray[np.float32]], Sequence[str]],
) -> list[str]:
    """Describe the median and the 90 % interval of a number in each row.

    Args:
        own: Conditionals of some variables, the number among them.
        i: Index of the number.
        to_texts: Function that formats its values.
    """
    count = len(own.parameters)
    everywhere = torch.arange(count, device=own.parameters.device)
    value = narrow(own, [i], everywhere.repeat(len(QUANTILES)))
    q = torch.tensor(QUANTILES, device=everywhere.device).repeat_interleave(count)
    texts = to_texts(value.quantile(q.unsqueeze(1)).squeeze(1).cpu().numpy())
    return [
        middle if low == high else f"about {middle}, 90 % in {low} to {high}"
        for low, middle, high in zip(
            texts[:count], texts[count : 2 * count], texts[2 * count :], strict=True
        )
    ]


def codes(probabilities: Tensor, labels: Sequence[str]) -> list[str]:
    """Name the likeliest codes of each row: (n, size) -> "UA (61 %), AA (20 %)"."""
    top = probabilities.topk(min(NAMED, probabilities.shape[1]))
    texts = []
    for shares, taken in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        named = [
            f"{labels[code]} ({percent(share)})"
            for rank, (share, code) in enumerate(zip(shares, taken, strict=True))
            if rank == 0 or share >= SMALL
        ]
        many = shares[0] < SMALL
        texts.append(f"many, first {named[0]}" if many else ", ".join(named))
    return texts


def percent(share: float) -> str:
    """Format a probability in whole percent."""
    if share < 0.005:
        return "<1 %"
    return ">99 %" if share > 0.995 else f"{100 * share:.0f} %"

"""Shrinkage of a trained model's outputs, fitted to the validation rows.

Where a network has learned dependences of a variable that do not hold for other rows,
its conditional distributions are too sharp. Parameters part of the way to those of the
marginal distribution make them as sure as they may be.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ar_models.families.base import AutoregressiveModel

FACTORS = (1.1, 0.85, 0.7, 0.5, 0.3, 0.15)
"""Factors of the difference from the marginal distribution that are tried, beside 1."""

MIN_T_STATISTIC = 3.0
"""Gain of a factor, in standard errors of its mean over rows, that is significant."""


@torch.no_grad()
def fit_shrinkage(
    model: AutoregressiveModel,
    batches: Iterable[Tensor],
    sum_over_ranks: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the factor with the lowest NLL for the outputs of each variable.

    A factor other than 1 has to lower the NLL significantly.

    Reference:
        Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, 2017.
        https://arxiv.org/abs/1706.04599 (there one temperature, of logits; here one
        factor per variable, of the difference from its marginal distribution).

    Args:
        model: The model, in eval mode; unchanged in the end.
        batches: This rank's share of the rows, each batch (rows, dim).
        sum_over_ranks: Adds up a tensor over all ranks.

    Returns:
        Factors (dim,).
    """
    device = model.ordering_table.device
    # Sums of the gains and of their squares.
    sums = torch.zeros(2, len(FACTORS), model.dim, dtype=torch.float64, device=device)
    rows = torch.zeros(1, dtype=torch.float64, device=device)
    for x in batches:
        gains = _gains(model, x)
        sums += torch.stack([gains.sum(1), gains.square().sum(1)])
        rows += len(x)
    sums, rows = sum_over_ranks(sums), sum_over_ranks(rows)
    mean, square = sums / rows
    error = ((square - mean.square()).clamp(min=0) / rows).sqrt()
    mean = mean.masked_fill(mean <= MIN_T_STATISTIC * error, 0.0)
    gain, best = mean.max(0)
    chosen = torch.tensor(FACTORS, device=device)[best]
    return torch.where(gain > 0, chosen, torch.ones_like(chosen))


def _gains(model: AutoregressiveModel, x: Tensor) -> Tensor:
    """Return what each factor gains over 1, in nats, (factors, rows, dim)."""
    maps = model.output_maps()
    originals = [(each.weight.clone(), each.bias.clone()) for each in maps]
    before = model.estimate_variable_log_prob(x)
    gains = []
    for factor in FACTORS:
        model.shrink_outputs(torch.full((model.dim,), factor, device=x.device))
        gains.append(model.estimate_variable_log_prob(x) - before)
        for each, (weight, bias) in zip(maps, originals, strict=True):
            each.weight.copy_(weight)
            each.bias.copy_(bias)
    return torch.stack(gains).double()

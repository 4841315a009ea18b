"""Mixtures of conditional distributions with the marginal distribution of a variable.

A network that meets an unusual combination of values extrapolates, at times with great
confidence: a code that occurs in every tenth row gets a probability of 1e-40. With a
small weight w of the marginal distribution m, the probability of a code c is

    (1 - w) p(c | earlier variables) + w m(c),

at least w m(c), and frequencies stay what they are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_models.variables import Variable


def marginal_weights(variables: Sequence[Variable]) -> Tensor:
    """Return the weights of marginal distributions, (count,), or none, (count, 0)."""
    weights = [variable.marginal_weight for variable in variables]
    return torch.tensor(weights) if any(weights) else no_weights(len(weights))


def no_weights(count: int) -> Tensor:
    """Return what stands for `count` weights that are all 0: a tensor (count, 0)."""
    return torch.empty(count, 0)


def mix(probabilities: Tensor, marginal: Tensor, weight: Tensor) -> Tensor:
    """Mix conditional with marginal distributions.

    Args:
        probabilities: Conditional probabilities of the codes, (batch, count, codes).
        marginal: Their frequencies in the training data, (count, codes).
        weight: Weights of the marginal distributions, above 0, (count,).

    Returns:
        Log-probabilities in nats, (batch, count, codes).
    """
    weight = weight.unsqueeze(-1)
    return torch.addcmul(weight * marginal, probabilities, 1 - weight).log()

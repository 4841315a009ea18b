"""Mixtures of conditional distributions with the marginal distribution of a variable.

A network that meets an unusual combination of values extrapolates, and may do so with
great confidence: a code that occurs in every tenth row gets a probability of 1e-40.
With a small weight w for the marginal distribution m,

    q(v | x) = (1 - w) p(v | x) + w m(v),

no code has less than w m(v), and frequencies stay what they are.
"""

import torch
from torch import Tensor


def mix(log_probs: Tensor, marginal: Tensor, weight: Tensor) -> Tensor:
    """Mix conditional with marginal distributions.

    Args:
        log_probs: Log-probabilities of codes by the network, (batch, count, codes).
        marginal: Log-probabilities of codes in the training data, (count, codes).
        weight: Weights of the marginal distributions, (count,).

    Returns:
        Log-probabilities, (batch, count, codes), in nats.
    """
    weight = weight.unsqueeze(-1)
    own = log_probs + torch.log1p(-weight)
    return torch.logaddexp(own, marginal + weight.log())


def mixes(weight: Tensor) -> bool:
    """Return whether a weight may be above 0.

    On accelerators and in exported graphs the answer would have to be waited for, so it
    is true there.
    """
    if weight.device.type != "cpu" or torch.compiler.is_exporting():
        return True
    return bool(weight.any())

"""Samples of single variables from their parameters."""

from torch import Tensor

from ar_models.distributions.base import GroupDistribution, at_least_float32
from ar_models.distributions.sampling import SamplingParams
from ar_models.distributions.variable_groups import VariableGroup


def sample_group(
    group: VariableGroup, parameters: Tensor, noise: Tensor, sampling: SamplingParams
) -> Tensor:
    """Sample one variable.

    Args:
        group: Distribution of the variable.
        parameters: Parameters, (batch, n).
        noise: Uniform numbers, (batch, 2).
        sampling: Temperature and nucleus.

    Returns:
        Samples, (batch,).
    """
    assert isinstance(group, GroupDistribution)
    parameters = at_least_float32(parameters).unsqueeze(1)
    return group.sample(parameters, noise.unsqueeze(1), sampling).squeeze(1)

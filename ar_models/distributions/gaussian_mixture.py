"""Mixtures of Gaussians, for real variables."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ar_models.distributions import entropy
from ar_models.distributions.mixtures import (
    UNIFORM_MARGIN,
    Mixture,
    mixture_constants,
)
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.softmax import stable_log
from ar_models.kernels.compiled import use_kernel
from ar_models.kernels.mixture_entropies import gaussian_entropy
from ar_models.kernels.mixtures import gaussian_log_prob, gaussian_tails
from ar_models.variables import Variable

MIN_LOG_SCALE = math.log(5e-3)
"""Minimum log-scale of a component, in scaled units."""

MAX_SCALED_VALUE = 1e6
"""Bound of the absolute values of reals, in scaled units, so that no square overflows;
no component has a probability beyond."""


class GaussianMixture(Mixture):
    """Mixtures of Gaussians.

    The entropy is approximated with nodes in every component, see
    `ar_models.distributions.entropy`.
    """

    @classmethod
    def of(cls, variables: Sequence[Variable], components: int) -> Self:
        """Return mixtures of `components` Gaussians for real variables."""
        constants = mixture_constants(
            variables, torch.empty(len(variables), 0), components
        )
        min_log_scale = torch.full_like(constants["scale"], MIN_LOG_SCALE)
        return cls(3 * components, {**constants, "min_log_scale": min_log_scale})

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        z = self.scaled(x).clamp(-MAX_SCALED_VALUE, MAX_SCALED_VALUE)
        constant = 0.5 * math.log(2 * math.pi) + self.scale.log()
        if use_kernel(parameters):
            return self.run_kernel(gaussian_log_prob, parameters, z)[0] - constant
        log_weight, location, log_scale = self.unpack(parameters)
        u = (z.unsqueeze(-1) - location) * torch.exp(-log_scale)
        log_densities = log_weight - 0.5 * u.square() - log_scale
        return log_densities.logsumexp(-1) - constant

    def _entropy_by_kernel(self, parameters: Tensor) -> Tensor:
        nodes = entropy.normal_nodes(parameters)
        x = parameters[..., 0]  # not used
        return (
            self.run_kernel(gaussian_entropy, parameters, x, nodes)[0]
            + self.scale.log()
        )

    def _entropy_of_rows(self, parameters: Tensor) -> Tensor:
        log_weight, location, log_scale = self.unpack(parameters)
        scaled = entropy.gaussian_mixture_entropy(
            log_weight.exp(), location, log_scale.exp()
        )
        return scaled + self.scale.log()

    def cdf_unpacked(
        self, log_weight: Tensor, location: Tensor, log_scale: Tensor, x: Tensor
    ) -> Tensor:
        u = (self.scaled(x).unsqueeze(-1) - location) * torch.exp(-log_scale)
        below: Tensor = torch.special.ndtr(u)
        return (log_weight.exp() * below).sum(-1).clamp(0, 1)

    def log_tail_probs(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        z = self.scaled(x).clamp(-MAX_SCALED_VALUE, MAX_SCALED_VALUE)
        if use_kernel(parameters):
            less, more = self.run_kernel(gaussian_tails, parameters, z, results=2)
        else:
            log_weight, location, log_scale = self.unpack(parameters)
            u = (z.unsqueeze(-1) - location) * torch.exp(-log_scale)
            less, more = _log_cdf(log_weight, u), _log_cdf(log_weight, -u)
        return torch.stack([less, torch.full_like(less, -torch.inf), more], -1)

    def sample(
        self,
        parameters: Tensor,
        noise: Tensor,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        log_weight, location, log_scale = self.unpack(parameters)
        index = self.sample_component(log_weight, noise[..., 0], sampling).unsqueeze(-1)
        scale = log_scale.gather(-1, index).squeeze(-1).exp()
        scale = scale * math.sqrt(sampling.temperature)
        uniform = sampling.shrink_uniform(noise[..., 1])
        u: Tensor = torch.special.ndtri(
            uniform.clamp(UNIFORM_MARGIN, 1 - UNIFORM_MARGIN)
        )
        z = location.gather(-1, index).squeeze(-1) + scale * u
        return self.location + self.scale * z

    def quantile_bounds(self, parameters: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        _, location, log_scale = self.unpack(parameters)
        u = torch.special.ndtri(q.clamp(UNIFORM_MARGIN, 1 - UNIFORM_MARGIN))
        z = location + log_scale.exp() * u.unsqueeze(-1)
        low, high = z.amin(-1), z.amax(-1)
        return self.location + self.scale * low, self.location + self.scale * high


def _log_cdf(log_weight: Tensor, u: Tensor) -> Tensor:
    """Compute log-CDFs (batch, count) from standardised values of all components."""
    # `ndtr` loses digits in the tail, `erfc` does not.
    cdf = (log_weight.exp() * torch.special.erfc(u * -(0.5**0.5))).sum(-1) / 2
    return stable_log(cdf, lambda at: log_weight[at] + torch.special.log_ndtr(u[at]))

"""The common part of Gaussian and logistic mixtures of numeric variables."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ar_models.distributions import entropy
from ar_models.distributions.base import GroupDistribution
from ar_models.distributions.marginal_mixing import marginal_weights, mix
from ar_models.distributions.sampling import (
    EXACT_SAMPLING,
    SamplingParams,
    sample_categorical,
)
from ar_models.kernels.compiled import run_kernel, use_kernel
from ar_models.variables import Variable

MAX_LOG_SCALE = math.log(1e4)
"""Maximum log-scale of a component, in scaled units."""

MIN_INITIAL_SCALE = 0.02
"""Minimum scale of a component before training, in scaled units."""

UNIFORM_MARGIN = 2.0**-25
"""Distance that uniform numbers keep from 0 and 1, so that samples are finite."""

BISECTIONS = 48
"""Number of halvings of an interval in the search for a quantile."""


class Mixture(GroupDistribution):
    """Mixtures of point masses and of components with a location and a scale.

    The parameters of a variable are the logits of its atoms and of its components, the
    locations and the raw log-scales. Locations and scales are in scaled units, which
    are (x - location) / scale. A raw log-scale is bent smoothly to lie between
    `min_log_scale` and `MAX_LOG_SCALE`.

    Attributes:
        location: (count,).
        scale: (count,).
        min_log_scale: In scaled units, (count,).
        atoms: Values with a point mass of their own, (count, atoms).
    """

    location: Tensor
    scale: Tensor
    min_log_scale: Tensor
    atoms: Tensor

    @property
    def components(self) -> int:
        """Number of components, not counting atoms."""
        return (self.width - self.atoms.shape[-1]) // 3

    def unpack(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights (of atoms, then components), locations and log-scales."""
        atoms, components = self.atoms.shape[-1], self.components
        logits, location, raw = parameters.split(
            [atoms + components, components, components], -1
        )
        low = self.min_log_scale.unsqueeze(-1)
        log_scale = low + F.softplus(raw - low) - F.softplus(raw - MAX_LOG_SCALE)
        return self._log_weights(logits), location, log_scale

    def _log_weights(self, logits: Tensor) -> Tensor:
        """Compute log-weights of atoms and components from their logits.

        What is mixed with the marginal distribution is the choice of an atom or of none
        of them; the components keep their shares in the latter.
        """
        log_weights = logits.log_softmax(-1)
        atoms = self.atoms.shape[-1]
        if not (self.is_mixed and atoms):
            return log_weights
        initial = self.initial_bias[..., : logits.shape[-1]].log_softmax(-1)
        own, marginal = (
            torch.cat([w[..., :atoms], w[..., atoms:].logsumexp(-1, True)], -1)
            for w in (log_weights, initial)
        )
        mixed = mix(own.exp(), marginal.exp(), self.marginal_weight)
        shares = log_weights[..., atoms:] - own[..., -1:]
        return torch.cat([mixed[..., :-1], mixed[..., -1:] + shares], -1)

    def sample_component(
        self, log_weight: Tensor, uniform: Tensor, sampling: SamplingParams
    ) -> Tensor:
        """Sample indices of atoms and components, (batch, count), from log-weights."""
        if sampling == EXACT_SAMPLING:  # the weights are normalised already
            return sample_categorical(log_weight.exp(), uniform)
        return sample_categorical(sampling.probabilities(log_weight), uniform)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the least and greatest values, (count,) each."""
        limit = torch.full(self.scale.shape, torch.inf, device=self.scale.device)
        return -limit, limit

    def run_kernel(
        self,
        kernel: Callable[..., None],
        parameters: Tensor,
        x: Tensor,
        *options: Tensor | float,
        results: int = 1,
    ) -> Tensor:
        """Run a kernel of `ar_models.kernels.mixtures` or `mixture_entropies`.

        Args:
            kernel: The kernel.
            parameters: (batch, count, width).
            x: Values, (batch, count).
            *options: Arguments of this kernel alone.
            results: Number of results.

        Returns:
            (results, batch, count).
        """
        _, parameters = self.prepare(parameters)
        minimum, maximum = (
            self.min_log_scale,
            torch.full(self.scale.shape, MAX_LOG_SCALE, device=self.scale.device),
        )
        constants = self.location, self.scale, *self.bounds(), minimum, maximum
        return run_kernel(
            kernel,
            parameters,
            x.unsqueeze(-1),
            torch.stack(constants, -1),
            self.atoms,
            *options,
            shape=(results, *x.shape),
        )

    def prepare(self, parameters: Tensor) -> tuple[GroupDistribution, Tensor]:
        group: GroupDistribution = self
        atoms = self.atoms.shape[-1]
        if self.is_mixed and atoms and not torch.compiler.is_exporting():
            weights = atoms + self.components
            own = self._log_weights(parameters[..., :weights])
            parameters = torch.cat([own, parameters[..., weights:]], -1)
            group = self.without_mixing()
        return group, parameters.contiguous() if use_kernel(parameters) else parameters

    def scaled(self, x: Tensor) -> Tensor:
        """Convert values (batch, count, *any) to scaled units."""
        trailing = (...,) + (None,) * (x.dim() - 2)
        return (x - self.location[trailing]) / self.scale[trailing]

    def entropy(self, parameters: Tensor) -> Tensor:
        if use_kernel(parameters):
            return self._entropy_by_kernel(parameters)
        nodes = len(self.fill_value) * self.components * entropy.NODES
        rows = max(1, entropy.MAX_NODES // nodes)
        if parameters.device.type != "cpu":
            rows = max(1, len(parameters))
        return torch.cat([self._entropy_of_rows(p) for p in parameters.split(rows)])

    def _entropy_by_kernel(self, parameters: Tensor) -> Tensor:
        raise NotImplementedError

    def _entropy_of_rows(self, parameters: Tensor) -> Tensor:
        raise NotImplementedError

    def cdf(self, parameters: Tensor, x: Tensor) -> Tensor:
        return self.cdf_unpacked(*self.unpack(parameters), x)

    def cdf_unpacked(
        self, log_weight: Tensor, location: Tensor, log_scale: Tensor, x: Tensor
    ) -> Tensor:
        """Compute the CDF at `x` from the result of `unpack`."""
        raise NotImplementedError

    def quantile(self, parameters: Tensor, q: Tensor) -> Tensor:
        unpacked = self.unpack(parameters)
        low, high = self.quantile_bounds(parameters, q)
        for _ in range(BISECTIONS):
            middle = self.midpoint(low, high)
            reached = self.cdf_unpacked(*unpacked, middle) >= q
            low, high = (
                torch.where(reached, low, middle),
                torch.where(reached, middle, high),
            )
        return high

    def quantile_bounds(self, parameters: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return values that enclose the quantiles of `q`, (batch, count) each."""
        raise NotImplementedError

    def midpoint(self, low: Tensor, high: Tensor) -> Tensor:
        """Return possible values halfway between `low` and `high`."""
        return (low + high) / 2


def mixture_constants(
    variables: Sequence[Variable], atoms: Tensor, components: int
) -> dict[str, Tensor]:
    """Return the buffers that both kinds of mixtures have.

    Args:
        variables: The variables of the group.
        atoms: (count, atoms).
        components: Number of components of each mixture.
    """
    location = [v.location for v in variables]
    biases = [_initial_bias(v, atoms.shape[-1], components) for v in variables]
    return {
        "initial_bias": torch.stack(biases),
        "fill_value": torch.tensor(location),
        "location": torch.tensor(location),
        "scale": torch.tensor([v.scale for v in variables]),
        "atoms": atoms,
        "marginal_weight": marginal_weights(variables),
    }


def _initial_bias(variable: Variable, atoms: int, components: int) -> Tensor:
    """Return parameters with components spread over the knots; (width,)."""
    *on_atoms, rest = variable.initial_frequencies(atoms + 1) if atoms else [1.0]
    weights = torch.tensor([*on_atoms, *[rest / components] * components])
    location, scale = variable.location, variable.scale
    knots = variable.knots or (location - scale, location + scale)
    levels = (np.arange(components) + 0.5) / components
    grid = np.linspace(0, 1, len(knots))
    scaled = (np.asarray(knots) - location) / scale
    centres = np.interp(levels, grid, scaled)
    spacing = np.interp(levels + 0.5 / components, grid, scaled) - np.interp(
        levels - 0.5 / components, grid, scaled
    )
    # Half the distance to the neighbours: narrower ones fit better, and may widen.
    log_scale = np.log(np.maximum(spacing / 2, MIN_INITIAL_SCALE))
    rest_of_row = np.concatenate([centres, log_scale])
    return torch.cat([weights.log(), torch.tensor(rest_of_row, dtype=torch.float32)])

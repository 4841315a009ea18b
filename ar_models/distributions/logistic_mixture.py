"""Mixtures of point masses and discretised logistics, for integer variables."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ar_models.distributions import entropy
from ar_models.distributions.mixtures import (
    UNIFORM_MARGIN,
    Mixture,
    mixture_constants,
)
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.softmax import stable_log
from ar_models.kernels.compiled import use_kernel
from ar_models.kernels.mixture_entropies import logistic_entropy
from ar_models.kernels.mixtures import logistic_log_prob, logistic_tails
from ar_models.variables import MAX_INTEGER, Variable

MIN_SCALE = 1e-3
"""Minimum scale of a component, in scaled units."""

MIN_INTEGER_SCALE = 0.03
"""Minimum scale of a component, in integers: its mass on the nearest integer is then
1 - 1e-7."""


class LogisticMixture(Mixture):
    r"""Mixtures of point masses at `atoms` and of discretised logistics.

    With u the distance of an integer from a component's location and d half an
    integer, both divided by the component's scale, its probability is

    .. math:: \sigma(u + d) - \sigma(u - d) = \frac{\sinh d}{\cosh u + \cosh d}

    The mass beyond `lower` or `upper` is added to the bound.

    Reference:
        Salimans, Karpathy, Chen, Kingma, PixelCNN++, 2017.
        https://arxiv.org/abs/1701.05517 (which subtracts the two sigmoids instead).

    Attributes:
        lower: Least integers, may be -inf, (count,).
        upper: Greatest integers, may be inf, (count,).
    """

    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, variables: Sequence[Variable], components: int) -> Self:
        """Return mixtures of `components` logistics for integer variables.

        Args:
            variables: Variables with equally many atoms.
            components: Number of components of each mixture.
        """
        atoms = torch.tensor([v.atoms for v in variables]).reshape(len(variables), -1)
        constants = mixture_constants(variables, atoms, components)
        lower = [-math.inf if v.lower is None else v.lower for v in variables]
        upper = [math.inf if v.upper is None else v.upper for v in variables]
        min_scale = (MIN_INTEGER_SCALE / constants["scale"]).clamp(min=MIN_SCALE)
        own = {
            "lower": torch.tensor(lower),
            "upper": torch.tensor(upper),
            "min_log_scale": min_scale.log(),
        }
        return cls(atoms.shape[-1] + 3 * components, {**constants, **own})

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        if use_kernel(parameters):
            return self.run_kernel(logistic_log_prob, parameters, x)[0]
        log_weight, location, log_scale = self.unpack(parameters)
        on_atoms, rest = self._split(log_weight)
        mass = self._log_mass(location, log_scale, x.unsqueeze(-1)).squeeze(-2)
        terms = rest + mass
        if self.atoms.shape[-1]:
            at_atom = x.unsqueeze(-1) == self.atoms
            atom = on_atoms.masked_fill(~at_atom, -torch.inf).amax(-1, keepdim=True)
            terms = torch.cat([atom, terms], -1)
        return terms.logsumexp(-1)

    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.lower, self.upper

    def _split(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Divide weights into those of the atoms and those of the components."""
        atoms = self.atoms.shape[-1]
        return weights[..., :atoms], weights[..., atoms:]

    def _log_mass(self, location: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
        """Compute log-probabilities of integers in each component.

        Args:
            location: (batch, count, components).
            log_scale: The same.
            x: (batch, count, n).

        Returns:
            (batch, count, n, components).
        """
        sharpness = torch.exp(-log_scale).unsqueeze(-2)
        u = (self.scaled(x).unsqueeze(-1) - location.unsqueeze(-2)) * sharpness
        d = 0.5 * sharpness / self.scale[:, None, None]
        low = (x <= self.lower[:, None]).unsqueeze(-1)
        high = (x >= self.upper[:, None]).unsqueeze(-1)
        at_low = torch.where(high, 0.0, F.logsigmoid(u + d))
        at_high = torch.where(high, F.logsigmoid(d - u), log_logistic_mass(u, d))
        return torch.where(low, at_low, at_high)

    def _entropy_by_kernel(self, parameters: Tensor) -> Tensor:
        options = (
            entropy.logistic_nodes(parameters),
            entropy.LOGISTIC_NODES_SCALE,
            entropy.NEGLIGIBLE_OVERLAP,
        )
        x = parameters[..., 0]  # not used
        return self.run_kernel(logistic_entropy, parameters, x, *options)[0]

    def _entropy_of_rows(self, parameters: Tensor) -> Tensor:
        log_weight, location, log_scale = self.unpack(parameters)
        on_atoms, weight = (w.exp() for w in self._split(log_weight))
        spread = self.scale.unsqueeze(-1) * log_scale.exp()
        centre = self.location.unsqueeze(-1) + self.scale.unsqueeze(-1) * location
        smooth = entropy.logistic_mixture_entropy(
            weight, centre, spread, self.lower, self.upper
        )
        overlap = torch.zeros_like(on_atoms)
        # Most columns are almost all atoms, or none: then nothing overlaps.
        share = on_atoms.sum(-1)
        both = (share > entropy.NEGLIGIBLE_OVERLAP) & (
            share < 1 - entropy.NEGLIGIBLE_OVERLAP
        )
        _, variable = at = both.nonzero(as_tuple=True)
        overlap[at] = entropy.logistic_mixture_mass(
            self.atoms[variable],
            weight[at],
            centre[at],
            spread[at],
            self.lower[variable],
            self.upper[variable],
        )
        return smooth + entropy.atom_entropy(on_atoms, overlap)

    def cdf_unpacked(
        self, log_weight: Tensor, location: Tensor, log_scale: Tensor, x: Tensor
    ) -> Tensor:
        on_atoms, weight = (w.exp() for w in self._split(log_weight))
        x = x.floor()
        edge = self.scaled(x + 0.5).unsqueeze(-1)
        below = torch.sigmoid((edge - location) * torch.exp(-log_scale))
        below = torch.where((x < self.lower).unsqueeze(-1), 0.0, below)
        below = torch.where((x >= self.upper).unsqueeze(-1), 1.0, below)
        reached = x.unsqueeze(-1) >= self.atoms
        total = (on_atoms * reached).sum(-1) + (weight * below).sum(-1)
        return total.clamp(0, 1)

    def log_tail_probs(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        if log_prob is None:
            log_prob = self.log_prob(parameters, x)
        if use_kernel(parameters):
            below, above = self.run_kernel(logistic_tails, parameters, x, results=2)
        else:
            unpacked = self.unpack(parameters)
            below = self._log_beyond(*unpacked, x, -1, self.lower)
            above = self._log_beyond(*unpacked, x, 1, self.upper)
        return torch.stack([below, log_prob, above], -1)

    def _log_beyond(
        self,
        log_weight: Tensor,
        location: Tensor,
        log_scale: Tensor,
        x: Tensor,
        sign: int,
        bound: Tensor,
    ) -> Tensor:
        """Compute log-probabilities of integers below (sign -1) or above (1) `x`."""
        on_atoms, rest = self._split(log_weight)
        edge = self.scaled(x + 0.5 * sign).unsqueeze(-1)
        u = sign * (location - edge) * torch.exp(-log_scale)
        at_bound = sign * (x - bound) >= 0
        smooth = (rest.exp() * torch.sigmoid(u)).sum(-1).masked_fill(at_bound, 0.0)
        beyond = sign * (self.atoms - x.unsqueeze(-1)) > 0

        def log_terms(at: tuple[Tensor, ...]) -> Tensor:
            components = rest[at] + F.logsigmoid(u[at])
            components = components.masked_fill(at_bound[at].unsqueeze(-1), -torch.inf)
            atoms = on_atoms[at].masked_fill(~beyond[at], -torch.inf)
            return torch.cat([atoms, components], -1)

        return stable_log(smooth + (on_atoms.exp() * beyond).sum(-1), log_terms)

    def sample(
        self,
        parameters: Tensor,
        noise: Tensor,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        log_weight, location, log_scale = self.unpack(parameters)
        index = self.sample_component(log_weight, noise[..., 0], sampling).unsqueeze(-1)
        atoms = self.atoms.shape[-1]
        component = (index - atoms).clamp(min=0)
        scale = log_scale.gather(-1, component).squeeze(-1).exp()
        scale = scale * sampling.temperature
        uniform = sampling.shrink_uniform(noise[..., 1])
        u = torch.logit(uniform.clamp(UNIFORM_MARGIN, 1 - UNIFORM_MARGIN))
        z = location.gather(-1, component).squeeze(-1) + scale * u
        value = torch.floor(self.location + self.scale * z + 0.5)
        value = value.clamp(-MAX_INTEGER, MAX_INTEGER).clamp(self.lower, self.upper)
        if atoms == 0:
            return value
        values = self.atoms.expand(len(value), -1, -1)
        atom = values.gather(-1, index.clamp(max=atoms - 1)).squeeze(-1)
        return torch.where(index.squeeze(-1) < atoms, atom, value)

    def quantile_bounds(self, parameters: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        limit = torch.full_like(q, MAX_INTEGER)
        low = torch.maximum(-limit, self.lower) - 1
        return low, torch.minimum(limit, self.upper)

    def midpoint(self, low: Tensor, high: Tensor) -> Tensor:
        return torch.floor((low + high) / 2)


def log_logistic_mass(u: Tensor, d: Tensor) -> Tensor:
    r"""Compute log(sinh d / (cosh u + cosh d)) without cancellation or overflow.

    Args:
        u: Distances from the location, in scales.
        d: Half the width of the interval, in scales, above 0.

    Example:
        >>> u, d = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 1e-6])
        >>> log_logistic_mass(u, d).exp()
        tensor([2.4492e-01, 9.0353e-08])
    """
    distance = u.abs()
    largest = torch.maximum(distance, d)
    if torch.compiler.is_exporting():  # ONNX has no expm1, but a sinh
        near = d.clamp(max=1)
        log_width = torch.where(
            d < 1, (2 * near.sinh()).log() - near, torch.log1p(-torch.exp(-2 * d))
        )
    else:
        log_width = torch.log(-torch.expm1(-2 * d))
    terms = (
        torch.exp(distance - largest)
        + torch.exp(-distance - largest)
        + torch.exp(d - largest)
        + torch.exp(-d - largest)
    )
    return (d - largest) + log_width - terms.log()

"""The conditional distributions of all variables of a batch of rows."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from ar_models.distributions.base import GroupDistribution, at_least_float32
from ar_models.distributions.discrete import Bernoulli, Categorical
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.variable_groups import VariableGroups


class Conditionals:
    """The conditional distributions of all variables, for a batch of rows.

    They compute in float32 at least, also under autocast. Methods return
    (batch, dim) unless they say otherwise; `x` may hold NaN where a variable is
    absent.

    Args:
        layout: The layout of all variables, or a selection of some.
        parameters: (batch, layout.size).
    """

    def __init__(self, layout: VariableGroups, parameters: Tensor) -> None:
        self.layout = layout
        self.parameters = at_least_float32(parameters)

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute log-probabilities or log-densities of `x`, in nats; 0 for NaN."""

        def of_group(k: int, group: GroupDistribution, parameters: Tensor) -> Tensor:
            return group.log_prob(parameters, self.layout.gather(k, values))

        absent, values = self._fill_absent(x)
        return self._merge(of_group).masked_fill(absent, 0.0)

    def entropy(self) -> Tensor:
        """Compute entropies in nats, as if every variable were present.

        Those of codes are exact, those of mixtures accurate to about 0.05 nats; see
        `ar_models.distributions.entropy`.
        """
        return self._merge(lambda k, group, parameters: group.entropy(parameters))

    def cdf(self, x: Tensor) -> Tensor:
        """Compute the probabilities of values of at most `x`; NaN for NaN."""

        def of_group(k: int, group: GroupDistribution, parameters: Tensor) -> Tensor:
            return group.cdf(parameters, self.layout.gather(k, values))

        absent, values = self._fill_absent(x)
        return self._merge(of_group).masked_fill(absent, torch.nan)

    def log_tail_probs(self, x: Tensor, log_prob: Tensor | None = None) -> Tensor:
        """Compute log-probabilities of values below, equal to and above `x`, in nats.

        For codes, those of all codes that are less likely than, as likely as and more
        likely than the given one. NaN where `x` is NaN.

        Args:
            x: Rows, (batch, dim).
            log_prob: Result of `log_prob` for `x`, which saves computing it again.

        Returns:
            (batch, dim, 3).
        """

        def of_group(k: int, group: GroupDistribution, parameters: Tensor) -> Tensor:
            known = None if log_prob is None else self.layout.gather(k, log_prob)
            return group.log_tail_probs(
                parameters, self.layout.gather(k, values), known
            )

        absent, values = self._fill_absent(x)
        tails = self._merge(of_group)
        return tails.masked_fill(absent.unsqueeze(-1), torch.nan)

    def sample(
        self, noise: Tensor, sampling: SamplingParams = EXACT_SAMPLING
    ) -> Tensor:
        """Transform uniform numbers to samples by the inverse CDF.

        Parents are ignored: an absent variable is sampled as if it were present.

        Args:
            noise: Uniform numbers (batch, dim, 2). The first one selects a code or a
                component, the second one a value within it.
            sampling: Temperature and top-p.
        """

        def of_group(k: int, group: GroupDistribution, parameters: Tensor) -> Tensor:
            uniform = self.layout.gather(k, noise).to(parameters.dtype)
            return group.sample(parameters, uniform, sampling)

        return self._merge(of_group)

    def quantile(self, q: Tensor | float) -> Tensor:
        """Compute the least values whose CDF is at least `q`; NaN for codes.

        Args:
            q: Probabilities, (batch, dim) or a single one.
        """
        shape = len(self.parameters), self.layout.dim
        levels = torch.as_tensor(q, device=self.parameters.device).expand(shape)

        def of_group(k: int, group: GroupDistribution, parameters: Tensor) -> Tensor:
            own = self.layout.gather(k, levels).to(parameters.dtype)
            return group.quantile(parameters, own)

        return self._merge(of_group)

    def log_probabilities(self, i: int) -> Tensor:
        """Compute log-probabilities of all codes of variable `i`, (batch, codes).

        Raises:
            ValueError: The variable is neither binary nor categorical.
        """
        group, parameters = self._discrete(i)
        return group.log_probabilities(parameters).squeeze(1)

    def probabilities(self, i: int) -> Tensor:
        """Compute probabilities of all codes of variable `i`, (batch, codes).

        Raises:
            ValueError: The variable is neither binary nor categorical.
        """
        group, parameters = self._discrete(i)
        return group.probabilities(parameters).squeeze(1)

    def _discrete(self, i: int) -> tuple[Bernoulli | Categorical, Tensor]:
        """Return the distribution of variable `i` and its parameters (batch, 1, n)."""
        k, place = self.layout.locations[i]
        group = self.layout.groups[k]
        if not isinstance(group, Bernoulli | Categorical):
            raise ValueError(f"variable {i} has no codes")
        parameters = self.layout.split(self.parameters)[k]
        index = torch.tensor([place], device=parameters.device)
        return group.select(index), parameters[:, index]

    def _fill_absent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return where `x` is NaN, and `x` with valid values there."""
        absent = x.isnan()
        fill_values = [
            group.get_buffer("fill_value").unsqueeze(0) for group in self.layout.groups
        ]
        fill = self.layout.merge(fill_values)
        return absent, torch.where(absent, fill, x.to(self.parameters.dtype))

    @cached_property
    def _groups(self) -> list[tuple[GroupDistribution, Tensor]]:
        """Distributions and parameters of all groups, prepared for repeated use."""
        prepared = []
        parts = self.layout.split(self.parameters)
        for group, parameters in zip(self.layout.groups, parts, strict=True):
            assert isinstance(group, GroupDistribution)
            prepared.append(group.prepare(parameters))
        return prepared

    def _merge(
        self, of_group: Callable[[int, GroupDistribution, Tensor], Tensor]
    ) -> Tensor:
        """Apply a function to all groups and put results in the variables' order."""
        parts = [of_group(k, *group) for k, group in enumerate(self._groups)]
        return self.layout.merge(parts)

"""An ensemble: the mean of the densities of several models."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families.base import AutoregressiveModel
from ar_models.families.orderings import mean_of_orderings


class Ensemble(AutoregressiveModel):
    r"""The mean of the densities of several models.

    .. math:: p(x) = \frac{1}{K} \sum_k p_k(x)

    The members differ by their initial weights and their random orderings. All of them
    are trained on every batch, so training and scoring cost K times as much. Their
    spread measures the uncertainty of the density, and the log-probability of the mean
    is at least the mean of their log-probabilities.

    Ordering number `which` belongs to member `which % K`. A mean of conditionals is not
    a conditional of the mean, so an ensemble is never order-agnostic.

    Reference:
        Lakshminarayanan, Pritzel, Blundell, Simple and scalable predictive uncertainty
        estimation using deep ensembles, 2017. https://arxiv.org/abs/1612.01474

    Args:
        members: Two or more models of one family and of the same variables.

    Example:
        >>> from ar_models.families.made import MADE
        >>> from ar_models.variables import binary_variables
        >>> variables, settings = binary_variables(3), MADE.Settings(hidden=16)
        >>> model = Ensemble([MADE(variables, settings) for _ in range(2)])
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(self, members: Sequence[AutoregressiveModel]) -> None:
        if len(members) < 2:
            raise ValueError(
                f"an ensemble needs at least 2 members, got {len(members)}"
            )
        super().__init__(members[0].variables, members[0].settings)
        self.members = nn.ModuleList(members)
        self.is_bound = members[0].is_bound
        self.noise_dim = members[0].noise_dim
        self.capturable = members[0].capturable
        tables = torch.stack([member.ordering_table for member in members], dim=1)
        self.ordering_table = tables.flatten(0, 1)
        self.orderings = len(self.ordering_table)

    def member(self, which: int) -> tuple[AutoregressiveModel, int]:
        """Return the member of ordering number `which`, and its number there."""
        member = self.members[which % len(self.members)]
        assert isinstance(member, AutoregressiveModel)
        return member, which // len(self.members)

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        member, own = self.member(which)
        return member.conditionals(x, own)

    def variable_log_prob(self, x: Tensor) -> Tensor:
        each = torch.stack([m.variable_log_prob(x) for m in self._members_in_step()])
        return each.mean(0) if self.training else mean_of_orderings(each)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-likelihood of each row, in nats: (batch, dim) -> (batch,).

        In train mode it is the mean of the log-likelihoods of the members.
        """
        rows = torch.stack([member.log_prob(x) for member in self._members_in_step()])
        if self.training:
            return rows.mean(0)
        return rows.logsumexp(0) - math.log(len(rows))

    def estimate_variable_log_prob(self, x: Tensor) -> Tensor:
        each = torch.stack(
            [member.estimate_variable_log_prob(x) for member in self._members_in_step()]
        )
        # Estimates of order-agnostic members are unbiased only before the exponential.
        if self.member(0)[0].order_agnostic:
            return each.mean(0)
        return mean_of_orderings(each)

    def _members_in_step(self) -> list[AutoregressiveModel]:
        """Return the members at the current training step, and advance the step."""
        members = [self.member(k)[0] for k in range(len(self.members))]
        for member in members:
            member.step = self.step
        self.step += self.training
        return members

    def features(self, x: Tensor) -> Tensor:
        each = [self.member(k)[0].features(x) for k in range(len(self.members))]
        return torch.cat(each, -1)

    def config(self) -> dict[str, Any]:
        return {**self.member(0)[0].config(), "ensemble": len(self.members)}

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        member, own = self.member(which)
        return member.draw(noise, given, own, sampling)

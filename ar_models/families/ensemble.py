"""Several models of one family as one density."""

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

    They differ by the weights that they start from, and by their random orderings. Each
    learns from every batch, so training and scoring cost as much as all of them. Their
    spread tells how sure the density is; the mean is never less likely than they are on
    average.

    Ordering `which` is that of member `which % K`. A mean of conditionals is none of
    them, so an ensemble is not order-agnostic, whatever its members are.

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
        """The model that ordering `which` is of, and its number there."""
        member = self.members[which % len(self.members)]
        assert isinstance(member, AutoregressiveModel)
        return member, which // len(self.members)

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        member, own = self.member(which)
        return member.conditionals(x, own)

    def variable_log_prob(self, x: Tensor) -> Tensor:
        each = torch.stack([m.variable_log_prob(x) for m in self._in_turn()])
        return each.mean(0) if self.training else mean_of_orderings(each)

    def log_prob(self, x: Tensor) -> Tensor:
        """As ever in eval mode; in train mode the mean of the members' log_prob."""
        rows = torch.stack([member.log_prob(x) for member in self._in_turn()])
        if self.training:
            return rows.mean(0)
        return rows.logsumexp(0) - math.log(len(rows))

    def estimate_log_prob(self, x: Tensor) -> Tensor:
        rows = torch.stack([member.estimate_log_prob(x) for member in self._in_turn()])
        # What order-agnostic members give are unbiased estimates only before the exp.
        if self.member(0)[0].order_agnostic:
            return rows.mean(0)
        return rows.logsumexp(0) - math.log(len(rows))

    def _in_turn(self) -> list[AutoregressiveModel]:
        """The members, told the turn; training takes it on."""
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

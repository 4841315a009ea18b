"""The interface of a kind of conditional distribution."""

from typing import Self

import torch
from torch import Tensor

from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.variable_groups import VariableGroup


class GroupDistribution(VariableGroup):
    """Conditional distributions of `count` variables of one kind.

    A subclass is one kind of distribution. `ParameterLayout` chooses it for a variable,
    and `Conditionals` evaluates all groups. In all methods parameters are
    (batch, count, width), values and results (batch, count); values are never NaN,
    as those of absent variables are replaced by `fill_value`.

    Attributes:
        initial_bias: Parameters of about the marginal distributions of the training
            data, (count, width).
        fill_value: A value of each variable that is valid for it, (count,).
        marginal_weight: Weights of the marginal distributions, (count,); (count, 0) if
            all are 0, or if the kind of distribution has none.
    """

    initial_bias: Tensor
    fill_value: Tensor
    marginal_weight: Tensor

    @property
    def is_mixed(self) -> bool:
        """True if these conditional distributions are mixed with marginal ones.

        Not in training: the network would not learn codes whose probability it
        underrates, as they would have that of the marginal distribution.
        """
        return not self.training and self.marginal_weight.dim() == 1

    def without_mixing(self) -> Self:
        """Return the same distributions, not mixed with marginal ones."""
        none = self.fill_value.new_empty(len(self.fill_value), 0)
        return type(self)(self.width, self.tensors() | {"marginal_weight": none})

    def prepare(self, parameters: Tensor) -> tuple["GroupDistribution", Tensor]:
        """Return an equal distribution whose methods are faster to call repeatedly."""
        return self, parameters

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Compute log-probabilities or log-densities of `x`, in nats."""
        raise NotImplementedError

    def entropy(self, parameters: Tensor) -> Tensor:
        """Compute entropies, in nats; differential ones for real variables."""
        raise NotImplementedError

    def cdf(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Compute the probabilities of values of at most `x`."""
        raise NotImplementedError

    def log_tail_probs(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        """Compute log-probabilities of values below, equal to and above `x`, in nats.

        Codes have no order; theirs are the log-probabilities of all codes that are
        less likely than, as likely as and more likely than the given one.

        Args:
            parameters: (batch, count, width).
            x: (batch, count).
            log_prob: Result of `log_prob` for `x`, which saves computing it again.

        Returns:
            (batch, count, 3), accurate also far in the tails, where a CDF rounds to 0
            or 1.
        """
        raise NotImplementedError

    def sample(
        self,
        parameters: Tensor,
        noise: Tensor,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Transform uniform numbers (batch, count, 2) to samples by the inverse CDF."""
        raise NotImplementedError

    def quantile(self, parameters: Tensor, q: Tensor) -> Tensor:
        """Compute the least values whose CDF reaches `q`; NaN for codes."""
        return torch.full_like(q, torch.nan)


def at_least_float32(parameters: Tensor) -> Tensor:
    """Convert half-precision outputs of a network under autocast to float32."""
    return parameters if parameters.dtype == torch.float64 else parameters.float()

"""Bernoulli and softmax distributions of binary and categorical variables."""

import math
from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ar_models.distributions import large_softmax, softmax
from ar_models.distributions.base import GroupDistribution
from ar_models.distributions.marginal_mixing import marginal_weights, mix, no_weights
from ar_models.distributions.sampling import (
    EXACT_SAMPLING,
    SamplingParams,
    sample_categorical,
)
from ar_models.distributions.softmax import log_tail_probs
from ar_models.kernels.compiled import use_kernel
from ar_models.variables import Variable

MAX_SAMPLING_LOGITS = 2**23
"""Maximum number of logits that are held in memory at once when codes are sampled."""

MAX_PREPARED_LOGITS = 2**22
"""Maximum number of logits of a factorised softmax that a CPU computes once and keeps
for several methods."""


class Bernoulli(GroupDistribution):
    """Bernoulli distributions; the parameter is the logit of 1."""

    @classmethod
    def of(cls, variables: Sequence[Variable]) -> Self:
        """Return the distributions of binary variables."""
        logits = []
        for variable in variables:
            zero, one = variable.initial_frequencies(2)
            logits.append(math.log(one / zero))
        return cls(
            1,
            {
                "initial_bias": torch.tensor(logits).unsqueeze(-1),
                "fill_value": torch.zeros(len(variables)),
                "marginal_weight": marginal_weights(variables),
            },
        )

    def logit(self, parameters: Tensor) -> Tensor:
        """Compute the log-odds of 1, (batch, count)."""
        if not self.is_mixed:
            return parameters.squeeze(-1)
        zero, one = (
            mix(
                (sign * parameters).sigmoid(),
                (sign * self.initial_bias).sigmoid(),
                self.marginal_weight,
            )
            for sign in (-1, 1)
        )
        return (one - zero).squeeze(-1)

    def logit_before_mixing(self, logit: Tensor) -> Tensor:
        """Return the parameters with given log-odds of 1, infinite if there are none.

        Args:
            logit: Log-odds (count, batch).
        """
        if not self.is_mixed:
            return logit
        weight = self.marginal_weight.double().unsqueeze(-1)
        marginal = self.initial_bias.double().sigmoid()
        own = (logit.double().sigmoid() - weight * marginal) / (1 - weight)
        return own.clamp(0, 1).logit().to(logit.dtype)

    def prepare(self, parameters: Tensor) -> tuple[GroupDistribution, Tensor]:
        if torch.compiler.is_exporting() or not self.is_mixed:
            return self, parameters
        return self.without_mixing(), self.logit(parameters).unsqueeze(-1)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        logit = self.logit(parameters)
        return F.logsigmoid(torch.where(x > 0.5, logit, -logit))

    def entropy(self, parameters: Tensor) -> Tensor:
        logit = self.logit(parameters)
        return F.softplus(logit) - logit * logit.sigmoid()

    def cdf(self, parameters: Tensor, x: Tensor) -> Tensor:
        below = torch.where(x >= 0, (-self.logit(parameters)).sigmoid(), 0.0)
        return torch.where(x >= 1, 1.0, below)

    def log_tail_probs(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        logit = self.logit(parameters)
        chosen = torch.where(x > 0.5, logit, -logit)
        logits = torch.stack([chosen, -chosen], -1)
        return log_tail_probs(logits / 2, logits[..., :1] / 2)

    def sample(
        self,
        parameters: Tensor,
        noise: Tensor,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        logit = self.logit(parameters)
        if sampling.temperature != 1:
            logit = logit / sampling.temperature
        one = logit.sigmoid()
        if sampling.top_p < 1:
            single = torch.maximum(one, 1 - one) >= sampling.top_p
            one = torch.where(single, (logit > 0).to(one.dtype), one)
        return (noise[..., 0] < one).to(parameters.dtype)

    def probabilities(self, parameters: Tensor) -> Tensor:
        """Compute the probabilities of 0 and 1, (batch, count, 2)."""
        one = self.logit(parameters).sigmoid()
        return torch.stack([1 - one, one], -1)

    def log_probabilities(self, parameters: Tensor) -> Tensor:
        """Compute the log-probabilities of 0 and 1, (batch, count, 2), in nats."""
        logit = self.logit(parameters)
        return F.logsigmoid(torch.stack([-logit, logit], -1))


class Categorical(GroupDistribution):
    """Softmax distributions; the parameters are the logits of the codes."""

    @classmethod
    def of(cls, variables: Sequence[Variable]) -> Self:
        """Return the distributions of categorical variables with equally many codes."""
        size = variables[0].size
        return cls(
            size,
            {
                "initial_bias": _log_frequencies(variables),
                "fill_value": torch.zeros(len(variables)),
                "marginal_weight": marginal_weights(variables),
            },
        )

    @property
    def codes(self) -> int:
        """Number of codes of each variable."""
        return self.width

    def logits(self, parameters: Tensor) -> Tensor:
        """Compute unnormalised log-probabilities, (batch, count, codes)."""
        if not self.is_mixed:
            return parameters
        marginal = self.initial_bias.softmax(-1)
        return mix(parameters.softmax(-1), marginal, self.marginal_weight)

    def prepare(self, parameters: Tensor) -> tuple[GroupDistribution, Tensor]:
        if torch.compiler.is_exporting() or not self.is_mixed:
            return self, parameters
        return self.without_mixing(), self.logits(parameters)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        logits = self.logits(parameters)
        chosen = logits.gather(-1, x.long().unsqueeze(-1)).squeeze(-1)
        return chosen - logits.logsumexp(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        return softmax.entropy(self.logits(parameters))

    def cdf(self, parameters: Tensor, x: Tensor) -> Tensor:
        probabilities = self.probabilities(parameters)
        codes = torch.arange(probabilities.shape[-1], device=x.device)
        return (probabilities * (codes <= x.unsqueeze(-1))).sum(-1)

    def log_tail_probs(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        logits = self.logits(parameters)
        return log_tail_probs(logits, logits.gather(-1, x.long().unsqueeze(-1)))

    def sample(
        self,
        parameters: Tensor,
        noise: Tensor,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        codes = self.fill_value.new_empty(noise.shape[:-1], dtype=parameters.dtype)
        chunk = max(1, MAX_SAMPLING_LOGITS // (len(self.fill_value) * self.codes))
        for start in range(0, len(codes), chunk):
            rows = slice(start, start + chunk)
            probabilities = sampling.probabilities(self.logits(parameters[rows]))
            codes[rows] = sample_categorical(probabilities, noise[rows, :, 0])
        return codes

    def probabilities(self, parameters: Tensor) -> Tensor:
        """Compute the probabilities of all codes, (batch, count, codes)."""
        return self.logits(parameters).softmax(-1)

    def log_probabilities(self, parameters: Tensor) -> Tensor:
        """Compute log-probabilities of all codes, (batch, count, codes), in nats."""
        return self.logits(parameters).log_softmax(-1)


class LargeCategorical(Categorical):
    """Softmax distributions over many codes with factorised logits.

    The parameters are a query vector. The logit of a code is the dot product of the
    query with the code's row of `table` plus the code's bias, so that the cost of a
    network does not grow with its width times the number of codes. They are not mixed
    with the marginal distributions, which would cost as much as all the rest.

    Attributes:
        table: (count, codes, width).
        bias: (count, codes).
    """

    table: Tensor
    bias: Tensor

    @classmethod
    def of_rank(cls, variables: Sequence[Variable], rank: int) -> Self:
        """Return the distributions of variables whose queries have length `rank`."""
        count, size = len(variables), variables[0].size
        bias = _log_frequencies(variables)
        table = torch.randn(count, size, rank) / math.sqrt(rank)
        return cls(
            rank,
            {
                "initial_bias": torch.zeros(count, rank),
                "fill_value": torch.zeros(count),
                "marginal_weight": no_weights(count),
            },
            {"table": table, "bias": bias},
        )

    @property
    def codes(self) -> int:
        return self.bias.shape[1]

    def prepare(self, parameters: Tensor) -> tuple[GroupDistribution, Tensor]:
        logits = len(parameters) * self.bias.numel()
        if not use_kernel(parameters) or logits > MAX_PREPARED_LOGITS:
            return self, parameters
        buffers = {
            "initial_bias": self.bias.detach(),
            "fill_value": self.fill_value,
            "marginal_weight": self.marginal_weight,
        }
        return Categorical(self.codes, buffers), self.logits(parameters)

    def logits(self, parameters: Tensor) -> Tensor:
        with torch.autocast(parameters.device.type, enabled=False):
            query, table = parameters.transpose(0, 1), self.table.transpose(1, 2)
            return torch.baddbmm(self.bias.unsqueeze(1), query, table).transpose(0, 1)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # one graph for any number of rows
            return super().log_prob(parameters, x)
        codes = x.long()
        results = [
            large_softmax.log_prob(query, table, bias, codes[:, k])
            for k, (query, table, bias) in enumerate(self._factors(parameters))
        ]
        return torch.stack(results, 1)

    def entropy(self, parameters: Tensor) -> Tensor:
        with torch.autocast(parameters.device.type, enabled=False):
            results = [
                large_softmax.entropy(*factors) for factors in self._factors(parameters)
            ]
        return torch.stack(results, 1)

    def log_tail_probs(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        codes = x.long()
        with torch.autocast(parameters.device.type, enabled=False):
            results = [
                large_softmax.log_tail_probs(*factors, codes[:, k])
                for k, factors in enumerate(self._factors(parameters))
            ]
        return torch.stack(results, 1)

    def _factors(self, parameters: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """Return queries, table and biases of every variable."""
        return zip(parameters.unbind(1), self.table, self.bias, strict=True)


def _log_frequencies(variables: Sequence[Variable]) -> Tensor:
    """Return logs of the training frequencies of all codes, (count, codes)."""
    size = variables[0].size
    return torch.tensor([v.initial_frequencies(size) for v in variables]).log()

"""Deep, order-agnostic neural autoregressive distribution estimator."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.base import GroupDistribution, at_least_float32
from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.tensor_cache import TensorCache
from ar_models.families.base import AutoregressiveModel, known_columns
from ar_models.families.orderings import make_orderings
from ar_models.families.settings import EoNADESettings
from ar_models.layers.features import InputFeatures
from ar_models.layers.hidden_layers import HiddenLayers
from ar_models.layers.nade_scan import (
    ScanBlock,
    ScanPlan,
    make_scan_plan,
    pre_activations,
)
from ar_models.layers.order_masks import GroupPositions, group_positions, sample_known
from ar_models.variables import Variable, apply_given

TOGETHER = 16
"""Positions whose hidden vectors are computed at once, at most, …"""

TOGETHER_FEATURES = 128
"""… and their features."""

HELD = 2**21
"""Numbers of a hidden layer that are held at once without gradients."""

ESTIMATES = 4
"""Random splits per row in a quick estimate."""


class EoNADE(AutoregressiveModel):
    r"""One network for all orderings: it sees what is known, and which that is.

    It is trained to predict every variable that may come next from a random set of
    known ones, see `ar_models.layers.order_masks.sample_known`. So in train mode
    `log_prob` is an unbiased estimate, from torch's global random numbers, of the
    log-probability averaged over orders. In eval mode it is exact, and the mean over
    `orderings` orderings.

    An absent variable is the same as an unknown one: `log_prob` of a row with NaN is
    the log-probability of the rest, with nothing assumed about the absent.

    Reference:
        Uria, Murray, Larochelle, A deep and tractable density estimator, 2014.
        https://arxiv.org/abs/1310.1757
        Uria, Côté, Gregor, Murray, Larochelle, Neural autoregressive distribution
        estimation, 2016. https://arxiv.org/abs/1605.02226

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the network.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> model = EoNADE(binary_variables(3), EoNADE.Settings(hidden=16)).eval()
        >>> nan = torch.nan
        >>> pair, one = torch.tensor([[1.0, nan, 0.0]]), torch.tensor([[1.0, nan, nan]])
        >>> bool(model.log_prob(pair) < model.log_prob(one))
        True
    """

    Settings = EoNADESettings

    order_agnostic = True

    settings: EoNADESettings
    chain_group: Tensor
    chain_place: Tensor
    chain_length: Tensor

    def __init__(self, variables: Sequence[Variable], settings: EoNADESettings) -> None:
        orderings = make_orderings(
            variables, settings.ordering, settings.orderings, settings.seed
        )
        super().__init__(variables, settings, orderings)
        hidden, embedding = settings.hidden, settings.embedding
        self.plans: TensorCache[ScanPlan] = TensorCache()
        self.inputs = InputFeatures.of(variables, embedding)
        self.layout = ParameterLayout.of(variables, settings.components, embedding)
        self.first = nn.Linear(self.inputs.size + self.dim, hidden)
        self.inner = HiddenLayers(
            hidden,
            settings.layers,
            residual=settings.residual,
            dropout=settings.dropout,
        )
        self.last = nn.Linear(hidden, self.layout.size)
        self.inner.shrink_residuals()
        nn.init.normal_(self.last.weight, std=1e-2)
        with torch.no_grad():
            self.last.bias.copy_(self.layout.initial_bias())
        self.chained = len({variable.group for variable in variables}) < self.dim
        for name, tensor in group_positions(variables)._asdict().items():
            self.register_buffer(f"chain_{name}", tensor, persistent=False)

    def seen(self, x: Tensor) -> Tensor:
        """What the network sees of what is not NaN: (batch, inputs.size + dim).

        The features of every variable, then whether it is known.
        """
        x = x.to(self.first.weight.dtype)
        return torch.cat([self.inputs(x), (~x.isnan()).to(x.dtype)], -1)

    def hidden(self, a: Tensor) -> Tensor:
        """Return the last hidden layer from the pre-activation of the first: (…, n)."""
        return F.relu(self.inner(a)[-1])

    def conditionals_given(self, x: Tensor, known: Tensor) -> Conditionals:
        parameters = self.last(
            self.hidden(self.first(self.seen(x.masked_fill(~known, torch.nan))))
        )
        return Conditionals(self.layout, parameters)

    def plan(self, which: int = 0) -> ScanPlan:
        """How ordering `which` goes through features and parameters."""

        def make() -> ScanPlan:
            every = self.chain_place.new_tensor(range(self.dim))
            of_inputs = torch.cat([self.inputs.variable_index, every])
            owners = of_inputs, self.layout.variable_index
            return make_scan_plan(
                self.ordering(which), *owners, TOGETHER, TOGETHER_FEATURES
            )

        return self.plans.get(which, self.ordering_table, make)

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        plan = self.plan(which)
        weight = self.first.weight.T[plan.inputs]
        rows = max(1, HELD // (TOGETHER * len(self.first.bias)))
        parts = [
            self._run(features[:, plan.inputs], weight, plan)
            for features in self.seen(x).split(rows)
        ]
        parameters = torch.cat(parts)[:, plan.outputs.argsort()]
        return Conditionals(self.layout, parameters)

    def _run(self, features: Tensor, weight: Tensor, plan: ScanPlan) -> Tensor:
        """The parameters at all positions, (batch, size), in the order of the plan."""
        carry = self.first.bias.expand(len(features), -1)
        parts = []
        for block in plan.blocks:
            a = pre_activations(carry, features, weight, plan, block)
            parts.append(self._read_out(self.hidden(a), plan, block))
            carry = carry + features[:, block.inputs] @ weight[block.inputs]
        return torch.cat(parts, -1)

    def _read_out(self, h: Tensor, plan: ScanPlan, block: ScanBlock) -> Tensor:
        """Each position's parameters, (batch, parameters of the block)."""
        own = plan.outputs[block.outputs]
        heads = self.last.weight[own].unflatten(0, (len(h), -1))
        parameters = torch.bmm(h, heads.transpose(1, 2)).transpose(0, 1).flatten(1)
        return parameters + self.last.bias[own]

    def variable_log_prob(self, x: Tensor) -> Tensor:
        """As ever in eval mode; in train mode the terms of the estimate."""
        if not self.training:
            return super().variable_log_prob(x)
        keys = torch.rand(x.shape, device=x.device)
        # Evenly spread over the batch, each row's alone uniform.
        share = torch.rand(1, device=x.device) + _even(len(x), x.device)
        share = share.frac()[torch.randperm(len(x), device=x.device)]
        return self._estimate(x, keys, share, torch.rand(len(x), device=x.device))

    def log_prob(self, x: Tensor) -> Tensor:
        if self.training:
            return self.variable_log_prob(x).sum(-1)
        return super().log_prob(x)

    def marginal_conditionals(
        self, x: Tensor, known: Tensor, which: int = 0
    ) -> Conditionals:
        return self.conditionals(x.masked_fill(~known, torch.nan), which)

    def marginal_log_prob(self, x: Tensor, known: Tensor) -> Tensor:
        return self.log_prob(x.masked_fill(~known, torch.nan))

    def estimate_log_prob(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.settings.seed)
        total = torch.zeros(len(x), device=x.device)
        for k in range(ESTIMATES):
            keys = torch.rand(x.shape, generator=generator).to(x.device)
            share = _even(len(x), x.device) + k / (ESTIMATES * max(len(x), 1))
            free = torch.rand(len(x), generator=generator).to(x.device)
            total = total + self._estimate(x, keys, share, free).sum(-1)
        return total / ESTIMATES

    def _estimate(self, x: Tensor, keys: Tensor, share: Tensor, free: Tensor) -> Tensor:
        chains = None
        if self.chained:
            chains = GroupPositions(
                self.chain_group, self.chain_place, self.chain_length
            )
        known, weight = sample_known(chains, keys, share, free)
        return self.conditionals_given(x, known).log_prob(x) * weight

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(self.first(self.seen(x)))

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """See `AutoregressiveModel.draw`; what is given comes before all else."""
        x = noise.new_full((len(noise), self.dim), torch.nan)
        given = None if given is None else self._consistent(given)
        known = known_columns(given, self.dim)
        a = self.first(self.seen(x if given is None else given))
        for i in self.ordering_list(which):
            own = known[i]
            if own is None:
                free: slice | Tensor = slice(None)
                value = self._draw_one(i, a, noise[:, i], sampling)
            else:
                free, value = own.isnan().nonzero()[:, 0], own.clone()
                if len(free):
                    drawn = self._draw_one(i, a[free], noise[free, i], sampling)
                    value[free] = drawn
            x[:, i] = apply_given(self.variables[i], value, None, x)
            a[free] += self._contribution(i, x[free, i])
        return x

    def _consistent(self, given: Tensor) -> Tensor:
        """`given` without values that a given parent rules out."""
        given = given.clone()
        for i, variable in enumerate(self.variables):
            if variable.parent is not None:
                parent = given[:, variable.parent]
                ruled_out = ~parent.isnan() & ~variable.is_present(parent)
                given[ruled_out, i] = torch.nan
        return given

    def _draw_one(
        self, i: int, a: Tensor, noise: Tensor, sampling: SamplingParams
    ) -> Tensor:
        """Values (batch,) of variable `i` from pre-activations and noise (batch, 2)."""
        group, at = self.layout.single(i)
        assert isinstance(group, GroupDistribution)
        parameters = F.linear(self.hidden(a), self.last.weight[at], self.last.bias[at])
        parameters = at_least_float32(parameters).unsqueeze(1)
        drawn = group.sample(parameters, noise.unsqueeze(1), sampling)
        return drawn.squeeze(1)

    def _contribution(self, i: int, x: Tensor) -> Tensor:
        """What values (batch,) of variable `i` add to the pre-activation."""
        features, at = self.inputs.forward_one(x, i)
        weight = self.first.weight
        is_known = (~x.isnan()).to(x.dtype).unsqueeze(-1)
        known = is_known * weight[:, self.inputs.size + i]
        return features @ weight[:, at].T + known


def _even(count: int, device: torch.device) -> Tensor:
    """Numbers spread evenly from 0 to 1, (count,)."""
    return torch.arange(count, device=device) / max(count, 1)

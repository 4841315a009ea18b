"""Deep, order-agnostic neural autoregressive distribution estimator."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.tensor_cache import TensorCache
from ar_models.families.base import AutoregressiveModel, known_columns
from ar_models.families.settings import EoNADESettings
from ar_models.layers.draws import sample_group
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

BLOCK_POSITIONS = 16
"""Maximum number of positions whose hidden vectors are computed in one block."""

BLOCK_FEATURES = 128
"""Maximum number of input features in a block of several positions."""

MAX_HIDDEN_VALUES = 2**21
"""Maximum number of values of a hidden layer that are computed at a time."""

ESTIMATE_SPLITS = 4
"""Splits into known and unknown variables per row in `estimate_variable_log_prob`."""


class EoNADE(AutoregressiveModel):
    """An order-agnostic network whose inputs are known values and the mask of them.

    The network is trained to predict every variable that may come next from a random
    set of known variables, see `ar_models.layers.order_masks.sample_known`. So
    `log_prob` in train mode is an unbiased estimate, from torch's global random
    numbers, of the log-probability averaged over orderings. In eval mode it is exact,
    for the mean over `orderings` orderings.

    An absent variable is treated as unknown: `log_prob` of a row with NaN is the
    log-probability of the other variables.

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
        super().__init__(variables, settings)
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

    def network_input(self, x: Tensor) -> Tensor:
        """Return the features of all variables and the mask of the known ones.

        Args:
            x: Observations (batch, dim), NaN where unknown.

        Returns:
            Inputs of the network (batch, inputs.size + dim).
        """
        x = x.to(self.first.weight.dtype)
        return torch.cat([self.inputs(x), (~x.isnan()).to(x.dtype)], -1)

    def hidden(self, a: Tensor) -> Tensor:
        """Return the last hidden layer from the pre-activation of the first: (…, n)."""
        return F.relu(self.inner(a)[-1])

    def conditionals_given(self, x: Tensor, known: Tensor) -> Conditionals:
        parameters = self.last(
            self.hidden(
                self.first(self.network_input(x.masked_fill(~known, torch.nan)))
            )
        )
        return Conditionals(self.layout, parameters)

    def plan(self, which: int = 0) -> ScanPlan:
        """Return the plan by which ordering number `which` is scanned, in blocks."""

        def make() -> ScanPlan:
            every = self.chain_place.new_tensor(range(self.dim))
            input_variables = torch.cat([self.inputs.variable_index, every])
            owners = input_variables, self.layout.variable_index
            return make_scan_plan(
                self.ordering(which), *owners, BLOCK_POSITIONS, BLOCK_FEATURES
            )

        return self.plans.get(which, self.ordering_table, make)

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        plan = self.plan(which)
        weight = self.first.weight.T[plan.inputs]
        rows = max(1, MAX_HIDDEN_VALUES // (BLOCK_POSITIONS * len(self.first.bias)))
        parts = [
            self._run(features[:, plan.inputs], weight, plan)
            for features in self.network_input(x).split(rows)
        ]
        parameters = torch.cat(parts)[:, plan.outputs.argsort()]
        return Conditionals(self.layout, parameters)

    def _run(self, features: Tensor, weight: Tensor, plan: ScanPlan) -> Tensor:
        """Return the parameters of all variables (batch, size), in the plan's order."""
        carry = self.first.bias.expand(len(features), -1)
        parts = []
        for block in plan.blocks:
            a = pre_activations(carry, features, weight, plan, block)
            parts.append(self._read_out(self.hidden(a), plan, block))
            carry = carry + features[:, block.inputs] @ weight[block.inputs]
        return torch.cat(parts, -1)

    def _read_out(self, h: Tensor, plan: ScanPlan, block: ScanBlock) -> Tensor:
        """Return the parameters of the variables of a block, (batch, n)."""
        own = plan.outputs[block.outputs]
        heads = self.last.weight[own].unflatten(0, (len(h), -1))
        parameters = torch.bmm(h, heads.transpose(1, 2)).transpose(0, 1).flatten(1)
        return parameters + self.last.bias[own]

    def variable_log_prob(self, x: Tensor) -> Tensor:
        """Return each variable's share of `log_prob`, in nats: (batch, dim).

        In train mode these are the terms of the estimate.
        """
        if not self.training:
            return super().variable_log_prob(x)
        keys = torch.rand(x.shape, device=x.device)
        # Evenly spread over the batch for less variance, and uniform for each row.
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

    def estimate_variable_log_prob(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.settings.seed)
        total = torch.zeros(x.shape, device=x.device)
        for k in range(ESTIMATE_SPLITS):
            keys = torch.rand(x.shape, generator=generator).to(x.device)
            share = _even(len(x), x.device) + k / (ESTIMATE_SPLITS * max(len(x), 1))
            free = torch.rand(len(x), generator=generator).to(x.device)
            total = total + self._estimate(x, keys, share, free)
        return total / ESTIMATE_SPLITS

    def _estimate(self, x: Tensor, keys: Tensor, share: Tensor, free: Tensor) -> Tensor:
        """Return the terms of an estimate of the log-probability, (batch, dim).

        Args:
            x: Observations (batch, dim), NaN where absent.
            keys: Uniform numbers (batch, dim), see `sample_known`.
            share: Uniform numbers (batch,) that set the number of known variables.
            free: Uniform numbers (batch,).
        """
        positions = None
        if self.chained:
            positions = GroupPositions(
                self.chain_group, self.chain_place, self.chain_length
            )
        known, weight = sample_known(positions, keys, share, free)
        return self.conditionals_given(x, known).log_prob(x) * weight

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(self.first(self.network_input(x)))

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Map uniform noise to samples; given variables come before all others."""
        x = noise.new_full((len(noise), self.dim), torch.nan)
        given = None if given is None else self._consistent(given)
        known = known_columns(given, self.dim)
        a = self.first(self.network_input(x if given is None else given))
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
            a[free] += self._contribution(i, x[free])
        return x

    def _consistent(self, given: Tensor) -> Tensor:
        """Remove given values of variables that a given parent rules out."""
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
        """Sample variable `i` (batch,) from pre-activations and noise (batch, 2)."""
        group, at = self.layout.single(i)
        parameters = F.linear(self.hidden(a), self.last.weight[at], self.last.bias[at])
        return sample_group(group, parameters, noise, sampling)

    def _contribution(self, i: int, x: Tensor) -> Tensor:
        """Return the pre-activations (batch, hidden) that variable `i` of rows adds."""
        features, at = self.inputs.forward_one(x, i)
        weight = self.first.weight
        is_known = (~x[:, i].isnan()).to(x.dtype).unsqueeze(-1)
        known = is_known * weight[:, self.inputs.size + i]
        return features @ weight[:, at].T + known


def _even(count: int, device: torch.device) -> Tensor:
    """Return `count` evenly spaced numbers from 0 up to 1, which is excluded."""
    return torch.arange(count, device=device) / max(count, 1)

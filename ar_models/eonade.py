"""Deep, order-agnostic neural autoregressive distribution estimator."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.autoregressive import (
    AutoregressiveModel,
    Ordering,
    columns_given,
    settle,
)
from ar_models.conditionals import (
    EXACT,
    Conditional,
    Conditionals,
    Layout,
    Tempering,
    precise,
)
from ar_models.dropout import Dropout
from ar_models.inputs import Inputs
from ar_models.kept import Kept
from ar_models.masking import Chains, chains, split
from ar_models.running import Block, Plan, make_plan, pre_activations
from ar_models.variables import Variable

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
    known ones, see `ar_models.masking.split`. So in train mode `log_prob` is an
    unbiased estimate, from torch's global random numbers, of the log-probability
    averaged over orders. In eval mode it is exact, and the mean over `orderings`
    orderings.

    An absent variable is the same as an unknown one: `log_prob` of a row with NaN is
    the log-probability of the rest, with nothing assumed about the absent.

    Reference:
        Uria, Murray, Larochelle, A deep and tractable density estimator, 2014.
        https://arxiv.org/abs/1310.1757
        Uria, Côté, Gregor, Murray, Larochelle, Neural autoregressive distribution
        estimation, 2016. https://arxiv.org/abs/1605.02226

    Args:
        variables: What each column of `x` is.
        hidden: Units per hidden layer.
        layers: Hidden layers, or residual blocks after the first hidden layer.
        residual: Whether there are residual blocks.
        orderings: Orderings that are averaged in eval mode.
        ordering: "natural", "random", or the sequence of groups of every ordering.
        components: Components of each mixture.
        embedding: Width in which vocabularies of more than 64 codes are embedded.
        dropout: Share of hidden units left out in train mode.
        seed: Of random orderings.

    Example:
        >>> from ar_models.variables import binary
        >>> model = EoNADE(binary(3), hidden=16).eval()
        >>> nan = torch.nan
        >>> pair, one = torch.tensor([[1.0, nan, 0.0]]), torch.tensor([[1.0, nan, nan]])
        >>> bool(model.log_prob(pair) < model.log_prob(one))
        True
    """

    order_agnostic = True

    chain_group: Tensor
    chain_place: Tensor
    chain_length: Tensor

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        hidden: int = 512,
        layers: int = 2,
        residual: bool = True,
        orderings: int = 8,
        ordering: Ordering = "random",
        components: int = 8,
        embedding: int = 16,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(variables, orderings=orderings, ordering=ordering, seed=seed)
        if hidden < 1 or layers < 1:
            raise ValueError(
                f"hidden and layers must be at least 1, got {hidden} and {layers}"
            )
        self.settings: dict[str, Any] = {
            "hidden": hidden,
            "layers": layers,
            "residual": residual,
            "orderings": orderings,
            "ordering": ordering
            if isinstance(ordering, str)
            else [list(groups) for groups in ordering],
            "components": components,
            "embedding": embedding,
            "dropout": dropout,
            "seed": seed,
        }
        self.residual = residual
        self.dropout = Dropout(dropout)
        self.plans: Kept[Plan] = Kept()
        self.inputs = Inputs.of(variables, embedding)
        self.layout = Layout.of(variables, components, embedding)
        self.first = nn.Linear(self.inputs.size + self.dim, hidden)
        inner = 2 * layers if residual else layers - 1
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(inner))
        self.last = nn.Linear(hidden, self.layout.size)
        if residual:
            for linear in self.inner[1::2]:
                nn.init.normal_(linear.get_parameter("weight"), std=1e-3)
        nn.init.normal_(self.last.weight, std=1e-2)
        with torch.no_grad():
            self.last.bias.copy_(self.layout.initial_bias())
        self.chained = len({variable.group for variable in variables}) < self.dim
        for name, tensor in chains(variables)._asdict().items():
            self.register_buffer(f"chain_{name}", tensor, persistent=False)

    def seen(self, x: Tensor) -> Tensor:
        """What the network sees of what is not NaN: (batch, inputs.size + dim).

        The features of every variable, then whether it is known.
        """
        x = x.to(self.first.weight.dtype)
        return torch.cat([self.inputs(x), (~x.isnan()).to(x.dtype)], -1)

    def hidden(self, a: Tensor) -> Tensor:
        """The last hidden layer, from the first one's pre-activation (…, hidden)."""
        h = a
        if self.residual:
            for one, other in zip(self.inner[::2], self.inner[1::2], strict=True):
                h = h + other(self.dropout(F.relu(one(F.relu(h)))))
            return F.relu(h)
        for linear in self.inner:
            h = linear(self.dropout(F.relu(h)))
        return F.relu(self.dropout(h))

    def conditional(self, x: Tensor, known: Tensor) -> Conditionals:
        parameters = self.last(
            self.hidden(self.first(self.seen(x.masked_fill(~known, torch.nan))))
        )
        return Conditionals(self.layout, parameters)

    def plan(self, which: int = 0) -> Plan:
        """How ordering `which` goes through features and parameters."""

        def make() -> Plan:
            every = self.chain_place.new_tensor(range(self.dim))
            of_inputs = torch.cat([self.inputs.owner, every])
            owners = of_inputs, self.layout.owner
            return make_plan(self.ordering(which), *owners, TOGETHER, TOGETHER_FEATURES)

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

    def _run(self, features: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        """The parameters at all positions, (batch, size), in the order of the plan."""
        carry = self.first.bias.expand(len(features), -1)
        parts = []
        for block in plan.blocks:
            a = pre_activations(carry, features, weight, plan, block)
            parts.append(self._read_out(self.hidden(a), plan, block))
            carry = carry + features[:, block.inputs] @ weight[block.inputs]
        return torch.cat(parts, -1)

    def _read_out(self, h: Tensor, plan: Plan, block: Block) -> Tensor:
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

    def quick_log_prob(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.settings["seed"])
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
            chains = Chains(self.chain_group, self.chain_place, self.chain_length)
        known, weight = split(chains, keys, share, free)
        return self.conditional(x, known).log_prob(x) * weight

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(self.first(self.seen(x)))

    def config(self) -> dict[str, Any]:
        return dict(self.settings)

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """See `AutoregressiveModel.draw`; what is given comes before all else."""
        x = noise.new_full((len(noise), self.dim), torch.nan)
        given = None if given is None else self._consistent(given)
        known = columns_given(given, self.dim)
        a = self.first(self.seen(x if given is None else given))
        for i in self.sequence(which):
            own = known[i]
            if own is None:
                free: slice | Tensor = slice(None)
                value = self._draw_one(i, a, noise[:, i], tempering)
            else:
                free, value = own.isnan().nonzero()[:, 0], own.clone()
                if len(free):
                    drawn = self._draw_one(i, a[free], noise[free, i], tempering)
                    value[free] = drawn
            x[:, i] = settle(self.variables[i], value, None, x)
            a[free] += self._contribution(i, x[free, i])
        return x

    def _consistent(self, given: Tensor) -> Tensor:
        """`given` without values that a given parent rules out."""
        given = given.clone()
        for i, variable in enumerate(self.variables):
            if variable.parent is not None:
                parent = given[:, variable.parent]
                ruled_out = ~parent.isnan() & ~variable.present(parent)
                given[ruled_out, i] = torch.nan
        return given

    def _draw_one(
        self, i: int, a: Tensor, noise: Tensor, tempering: Tempering
    ) -> Tensor:
        """Values (batch,) of variable `i` from pre-activations and noise (batch, 2)."""
        group, at = self.layout.alone(i)
        assert isinstance(group, Conditional)
        parameters = F.linear(self.hidden(a), self.last.weight[at], self.last.bias[at])
        parameters = precise(parameters).unsqueeze(1)
        drawn = group.sample(parameters, noise.unsqueeze(1), tempering)
        return drawn.squeeze(1)

    def _contribution(self, i: int, x: Tensor) -> Tensor:
        """What values (batch,) of variable `i` add to the pre-activation."""
        features, at = self.inputs.of_one(x, i)
        weight = self.first.weight
        is_known = (~x.isnan()).to(x.dtype).unsqueeze(-1)
        known = is_known * weight[:, self.inputs.size + i]
        return features @ weight[:, at].T + known


def _even(count: int, device: torch.device) -> Tensor:
    """Numbers spread evenly from 0 to 1, (count,)."""
    return torch.arange(count, device=device) / max(count, 1)

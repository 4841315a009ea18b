"""Neural autoregressive distribution estimator."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
from ar_models.running import Activation, Plan, activate, make_plan, run
from ar_models.variables import Variable

TOGETHER = 32
"""Positions whose hidden vectors an accelerator computes at once, at most, …"""

TOGETHER_FEATURES = 64
"""… and their features. On a CPU it is one position at a time."""


class NADE(AutoregressiveModel):
    r"""Hidden units tied through one running pre-activation, a head per variable.

    .. math:: h_i = \sigma(\rho_i (c + \sum_{j < i} W_j x_j)), \quad
        p(x_i \mid x_{<i}) \text{ from } b_i + V_i h_i

    All conditionals cost O(dim x hidden) together. Here x_j are the features of a
    variable, and V_i has a row for each parameter of its conditional.

    Reference:
        Larochelle, Murray, The neural autoregressive distribution estimator, 2011.
        https://proceedings.mlr.press/v15/larochelle11a.html (binary variables,
        `activation="sigmoid"`).
        Uria, Murray, Larochelle, RNADE, 2013. https://arxiv.org/abs/1306.0186 (real
        ones, with `rescale`).

    Args:
        variables: What each column of `x` is.
        hidden: Number of hidden units.
        activation: "relu" or "sigmoid".
        rescale: Whether there are the learned scales ρ of each position.
        orderings: Orderings that are averaged; they share their weights.
        ordering: "natural", "random", or the sequence of groups of every ordering.
        components: Components of each mixture.
        embedding: Width in which vocabularies of more than 64 codes are embedded.
        dropout: Share of hidden units left out in train mode, the same at all
            positions of a row.
        seed: Of random orderings.

    Example:
        >>> from ar_models.variables import binary
        >>> model = NADE(binary(3), hidden=16)
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        hidden: int = 512,
        activation: Activation = "relu",
        rescale: bool = False,
        orderings: int = 1,
        ordering: Ordering = "natural",
        components: int = 8,
        embedding: int = 16,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(variables, orderings=orderings, ordering=ordering, seed=seed)
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        if activation not in ("relu", "sigmoid"):
            raise ValueError(
                f"activation must be 'relu' or 'sigmoid', got {activation!r}"
            )
        self.settings: dict[str, Any] = {
            "hidden": hidden,
            "activation": activation,
            "rescale": rescale,
            "orderings": orderings,
            "ordering": ordering
            if isinstance(ordering, str)
            else [list(groups) for groups in ordering],
            "components": components,
            "embedding": embedding,
            "dropout": dropout,
            "seed": seed,
        }
        self.activation = activation
        self.plans: Kept[Plan] = Kept()
        self.inputs = Inputs.of(variables, embedding)
        self.layout = Layout.of(variables, components, embedding)
        self.dropout = Dropout(dropout)
        linear = nn.Linear(self.inputs.size, hidden)
        self.weight = nn.Parameter(linear.weight.detach().T.contiguous())
        self.bias = linear.bias
        self.head_weight = nn.Parameter(torch.randn(self.layout.size, hidden) * 1e-2)
        self.head_bias = nn.Parameter(self.layout.initial_bias())
        self.scale = nn.Parameter(torch.ones(self.dim)) if rescale else None

    def plan(self, which: int = 0) -> Plan:
        """How ordering `which` goes through features and parameters."""
        together = 1 if self.weight.device.type == "cpu" else TOGETHER
        owners = self.inputs.owner, self.layout.owner
        return self.plans.get(
            which,
            self.ordering_table,
            lambda: make_plan(
                self.ordering(which), *owners, together, TOGETHER_FEATURES
            ),
        )

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        plan = self.plan(which)
        features = self.inputs(x.to(self.weight.dtype))
        keep = None
        if self.training and self.dropout.p > 0:
            keep = self.dropout(self.weight.new_ones(len(x), len(self.bias)))
        parameters = run(
            features[:, plan.inputs],
            self.weight[plan.inputs],
            self.bias,
            self.head_weight[plan.outputs],
            plan,
            activation=self.activation,
            scale=self.scale,
            keep=keep,
        )
        restored = parameters[:, plan.outputs.argsort()] + self.head_bias
        return Conditionals(self.layout, restored)

    def features(self, x: Tensor) -> Tensor:
        """The hidden units after all variables; they are the same in any ordering."""
        a = self.inputs(x.to(self.weight.dtype)) @ self.weight + self.bias
        return activate(self.activation, a)

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
        # Arrays are (numbers, batch): then a variable is contiguous.
        uniform = noise.permute(1, 2, 0).contiguous()
        x = noise.new_full((self.dim, len(noise)), torch.nan)
        known = columns_given(given, self.dim)
        a = self.bias.unsqueeze(-1).repeat(1, len(noise))
        for position, i in enumerate(self.sequence(which)):
            group, at = self.layout.alone(i)
            assert isinstance(group, Conditional)
            scaled = a if self.scale is None else a * self.scale[position]
            parameters = torch.addmm(
                self.head_bias[at, None],
                self.head_weight[at],
                activate(self.activation, scaled),
            )
            free = group.sample(
                precise(parameters).T.unsqueeze(1), uniform[i].T.unsqueeze(1), tempering
            )
            x[i] = settle(
                self.variables[i],
                free.squeeze(1),
                known[i],
                x.T,
            )
            features, places = self.inputs.of_one(x[i], i)
            a.addmm_(self.weight[places].T, features.T)
        return x.T.contiguous()

"""Neural autoregressive distribution estimator."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.tensor_cache import TensorCache
from ar_models.families.base import AutoregressiveModel, known_columns
from ar_models.families.settings import NADESettings
from ar_models.layers.draws import sample_group
from ar_models.layers.dropout import Dropout
from ar_models.layers.features import InputFeatures
from ar_models.layers.nade_scan import (
    ScanPlan,
    activate,
    make_scan_plan,
    scan,
)
from ar_models.variables import Variable, apply_given

BLOCK_POSITIONS = 32
"""Maximum number of positions per block on an accelerator; on a CPU it is 1."""

BLOCK_FEATURES = 64
"""Maximum number of input features in a block of several positions."""


class NADE(AutoregressiveModel):
    r"""Hidden units with tied weights, computed in one scan over the variables.

    .. math:: h_i = \sigma(c + \sum_{j < i} W_j x_j), \quad
        p(x_i \mid x_{<i}) \text{ from } b_i + V_i h_i

    All conditionals cost O(dim x hidden) together. Here x_j are the features of a
    variable, and V_i has a row for each parameter of its conditional.

    Reference:
        Larochelle, Murray, The neural autoregressive distribution estimator, 2011.
        https://proceedings.mlr.press/v15/larochelle11a.html (binary variables,
        `activation="sigmoid"`).
        Uria, Murray, Larochelle, RNADE, 2013. https://arxiv.org/abs/1306.0186 (real
        ones; there with a learned scale of the pre-activation at each position).

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the network. A unit that dropout leaves out is left out at
            all positions of a row.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> model = NADE(binary_variables(3), NADE.Settings(hidden=16))
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    Settings = NADESettings

    settings: NADESettings

    def __init__(self, variables: Sequence[Variable], settings: NADESettings) -> None:
        super().__init__(variables, settings)
        hidden, embedding = settings.hidden, settings.embedding
        self.plans: TensorCache[ScanPlan] = TensorCache()
        self.inputs = InputFeatures.of(variables, embedding)
        self.layout = ParameterLayout.of(variables, settings.components, embedding)
        self.dropout = Dropout(settings.dropout)
        linear = nn.Linear(self.inputs.size, hidden)
        self.weight = nn.Parameter(linear.weight.detach().T.contiguous())
        self.bias = linear.bias
        self.head_weight = nn.Parameter(torch.randn(self.layout.size, hidden) * 1e-2)
        self.head_bias = nn.Parameter(self.layout.initial_bias())

    def plan(self, which: int = 0) -> ScanPlan:
        """Return the plan by which ordering number `which` is scanned, in blocks."""
        positions = 1 if self.weight.device.type == "cpu" else BLOCK_POSITIONS
        owners = self.inputs.variable_index, self.layout.variable_index
        return self.plans.get(
            which,
            self.ordering_table,
            lambda: make_scan_plan(
                self.ordering(which), *owners, positions, BLOCK_FEATURES
            ),
        )

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        plan = self.plan(which)
        features = self.inputs(x.to(self.weight.dtype))
        keep = None
        if self.training and self.dropout.p > 0:
            keep = self.dropout(self.weight.new_ones(len(x), len(self.bias)))
        parameters = scan(
            features[:, plan.inputs],
            self.weight[plan.inputs],
            self.bias,
            self.head_weight[plan.outputs],
            plan,
            activation=self.settings.activation,
            keep=keep,
        )
        restored = parameters[:, plan.outputs.argsort()] + self.head_bias
        return Conditionals(self.layout, restored)

    def features(self, x: Tensor) -> Tensor:
        """Return the hidden units after all variables, the same in every ordering."""
        a = self.inputs(x.to(self.weight.dtype)) @ self.weight + self.bias
        return activate(self.settings.activation, a)

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        # Arrays are (n, batch), so that the values of a variable are contiguous.
        uniform = noise.permute(1, 2, 0).contiguous()
        x = noise.new_full((self.dim, len(noise)), torch.nan)
        known = known_columns(given, self.dim)
        a = self.bias.unsqueeze(-1).repeat(1, len(noise))
        for i in self.ordering_list(which):
            group, at = self.layout.single(i)
            parameters = torch.addmm(
                self.head_bias[at, None],
                self.head_weight[at],
                activate(self.settings.activation, a),
            )
            free = sample_group(group, parameters.T, uniform[i].T, sampling)
            x[i] = apply_given(self.variables[i], free, known[i], x.T)
            features, places = self.inputs.forward_one(x.T, i)
            a.addmm_(self.weight[places].T, features.T)
        return x.T.contiguous()

"""Fully visible sigmoid belief network: one regression per variable."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families.base import AutoregressiveModel, known_columns
from ar_models.families.settings import FVSBNSettings
from ar_models.layers.draws import sample_group
from ar_models.layers.features import InputFeatures
from ar_models.layers.masked_linear import MaskedLinear
from ar_models.variables import Variable, apply_given

BLOCK_VARIABLES = 32
"""Variables per block when sampling: one matrix product adds all before the block."""


class FVSBN(AutoregressiveModel):
    """One generalised linear regression per variable, on those before it.

    Binary variables have a logistic regression and categorical ones a softmax
    regression; for numeric variables the weights, locations and log-scales of the
    mixture are linear. All are linear in the `InputFeatures` of a variable, so that the
    effect of a number is piecewise linear.

    Reference:
        Neal, Connectionist learning of belief networks, 1992.
        https://doi.org/10.1016/0004-3702(92)90065-6
        Frey, Graphical models for machine learning and digital communication, 1998.
        (The published models are over binary variables.)

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the regressions.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> model = FVSBN(binary_variables(3), FVSBN.Settings())
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    Settings = FVSBNSettings

    settings: FVSBNSettings

    def __init__(self, variables: Sequence[Variable], settings: FVSBNSettings) -> None:
        super().__init__(variables, settings)
        self.inputs = InputFeatures.of(variables, settings.embedding)
        self.layout = ParameterLayout.of(
            variables, settings.components, settings.embedding
        )
        self.linear = MaskedLinear(self.inputs.size, self.layout.size)
        # Weights of 0 would leave the embeddings without gradients for ever.
        nn.init.normal_(self.linear.weight, std=1e-2)
        with torch.no_grad():
            self.linear.bias.copy_(self.layout.initial_bias())

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        ranks = self.ordering(which).argsort()
        input_degrees = ranks[self.inputs.variable_index] + 1
        output_degrees = ranks[self.layout.variable_index]
        features = self.inputs(x.to(self.linear.weight.dtype))
        parameters = self.linear(features, input_degrees, output_degrees, which)
        return Conditionals(self.layout, parameters)

    def features(self, x: Tensor) -> Tensor:
        """Return the parameters of all conditionals, as there are no hidden units."""
        return self.conditionals(x).parameters

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
        # Features of variables that are not sampled yet are 0, so no mask is needed.
        seen = noise.new_zeros(self.inputs.size, len(noise))
        weight, bias = self.linear.weight, self.linear.bias.unsqueeze(-1)
        order = self.ordering_list(which)
        for start in range(0, self.dim, BLOCK_VARIABLES):
            block = order[start : start + BLOCK_VARIABLES]
            taken = [self.layout.single(i) for i in block]
            rows = torch.cat([self.layout.source_index[at] for _, at in taken])
            ahead = torch.addmm(bias[rows], weight[rows], seen)
            for i, (group, _) in zip(block, taken, strict=True):
                own, ahead = ahead.split([group.width, len(ahead) - group.width])
                rows = rows[group.width :]
                free = sample_group(group, own.T, uniform[i].T, sampling)
                x[i] = apply_given(self.variables[i], free, known[i], x.T)
                features, places = self.inputs.forward_one(x.T, i)
                seen[places] = features.T
                ahead = torch.addmm(ahead, weight[rows, places], features.T)
        return x.T.contiguous()

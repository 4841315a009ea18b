"""Independent variables, the baseline of all other families."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families.base import AutoregressiveModel
from ar_models.families.settings import IndependentSettings
from ar_models.variables import Variable, apply_given


class Independent(AutoregressiveModel):
    """Every variable from its marginal distribution, conditioned on nothing.

    Whether a variable is present still follows from its parent's sample, so that the
    rows are well-formed.

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the conditionals.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> model = Independent(binary_variables(3), Independent.Settings())
        >>> model.log_prob(torch.zeros(5, 3))[0]
        tensor(-2.0794, grad_fn=<SelectBackward0>)
    """

    Settings = IndependentSettings

    settings: IndependentSettings

    def __init__(
        self,
        variables: Sequence[Variable],
        settings: IndependentSettings,
    ) -> None:
        super().__init__(variables, settings)
        self.layout = ParameterLayout.of(
            variables, settings.components, settings.embedding
        )
        self.bias = nn.Parameter(self.layout.initial_bias())

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        return Conditionals(self.layout, self.bias.expand(x.shape[0], -1))

    def features(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 0)

    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        x = noise.new_full((len(noise), self.dim), torch.nan)
        free = self.conditionals(x).sample(noise, sampling)
        for i in self.ordering_list(which):
            known = None if given is None else given[:, i]
            x[:, i] = apply_given(self.variables[i], free[:, i], known, x)
        return x

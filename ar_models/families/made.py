"""Masked autoencoder for distribution estimation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.tensor_cache import TensorCache
from ar_models.families.base import AutoregressiveModel, known_columns
from ar_models.families.made_network import MaskedNetwork, SamplingOrder
from ar_models.families.made_sampling import sample_masked_network
from ar_models.families.settings import MADESettings
from ar_models.layers.features import InputFeatures
from ar_models.layers.hidden_layers import HiddenLayers
from ar_models.layers.masked_linear import MaskedLinear
from ar_models.variables import Variable


class MADE(AutoregressiveModel):
    """A network masked so that each output sees only earlier variables.

    Hidden unit k has a degree, the number of variables, counted in the ordering, that
    it may see. Degrees ascend with k; each mask after the first permutes them. Each
    pair of an ordering and a mask counts as an ordering.

    Reference:
        Germain, Gregor, Murray, Larochelle, MADE, 2015.
        https://arxiv.org/abs/1502.03509 (there with other degrees in each layer).
        Nash, Durkan, Autoregressive energy machines, 2019.
        https://arxiv.org/abs/1904.05626 (residual blocks).

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the network.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> model = MADE(binary_variables(3), MADE.Settings(hidden=16))
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    Settings = MADESettings

    settings: MADESettings
    degrees: Tensor  # (masks, hidden); those of the first mask ascend

    def __init__(self, variables: Sequence[Variable], settings: MADESettings) -> None:
        super().__init__(variables, settings)
        self.ordering_table = self.ordering_table.repeat(settings.masks, 1)
        self.orderings = len(self.ordering_table)
        hidden, embedding = settings.hidden, settings.embedding
        self.inputs = InputFeatures.of(variables, embedding)
        self.layout = ParameterLayout.of(variables, settings.components, embedding)
        self.first = MaskedLinear(self.inputs.size, hidden)
        self.inner = HiddenLayers(
            hidden,
            settings.layers,
            residual=settings.residual,
            dropout=settings.dropout,
            linear=MaskedLinear,
        )
        self.last = MaskedLinear(hidden, self.layout.size)
        self.inner.shrink_residuals()
        nn.init.normal_(self.last.weight, std=1e-2)
        with torch.no_grad():
            self.last.bias.copy_(self.layout.initial_bias())
        self.direct: MaskedLinear | None = None
        if settings.direct:
            self.direct = MaskedLinear(self.inputs.size, self.layout.size)
            nn.init.normal_(self.direct.weight, std=1e-3)
            nn.init.zeros_(self.direct.bias)
        self.register_buffer("degrees", self._make_degrees(), persistent=False)
        self._sampling_orders: TensorCache[SamplingOrder] = TensorCache()

    def _make_degrees(self) -> Tensor:
        hidden = self.settings.hidden
        first = 1 + torch.arange(hidden) * max(self.dim - 1, 1) // hidden
        generator = torch.Generator().manual_seed(self.settings.seed)
        others = [
            first[torch.randperm(hidden, generator=generator)]
            for _ in range(self.settings.masks - 1)
        ]
        return torch.stack([first, *others])

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        features, degrees = self._input_features(x, which)
        output_degrees = self.ordering(which).argsort()[self.layout.variable_index]
        h = F.relu(self._hidden_layers(features, degrees, which)[-1])
        parameters = self.last(h, self.degrees_of(which), output_degrees, which)
        if self.direct is not None:
            linear = self.direct(features, degrees, output_degrees, which)
            parameters = parameters + linear
        return Conditionals(self.layout, parameters)

    def mask_of(self, which: int) -> int:
        """Return the number of the mask that ordering number `which` uses."""
        return which * len(self.degrees) // self.orderings

    def degrees_of(self, which: int) -> Tensor:
        """Return the degrees of the hidden units in ordering number `which`."""
        return self.degrees[self.mask_of(which)]

    def hidden(self, x: Tensor, which: int = 0) -> Tensor:
        """Return the last hidden layer: (batch, dim) -> (batch, hidden)."""
        features, degrees = self._input_features(x, which)
        return F.relu(self._hidden_layers(features, degrees, which)[-1])

    def features(self, x: Tensor) -> Tensor:
        """Return all hidden layers side by side: (batch, n)."""
        layers = self._hidden_layers(*self._input_features(x, 0), 0)
        return torch.cat([F.relu(h) for h in layers], -1)

    def _input_features(self, x: Tensor, which: int) -> tuple[Tensor, Tensor]:
        """Return the features of the inputs (batch, features), and their degrees."""
        degrees = self.ordering(which).argsort()[self.inputs.variable_index] + 1
        return self.inputs(x.to(self.first.weight.dtype)), degrees

    def _hidden_layers(
        self, features: Tensor, degrees: Tensor, which: int
    ) -> list[Tensor]:
        """Return the pre-activations of all hidden layers, (batch, hidden) each."""
        own, mask = self.degrees_of(which), self.mask_of(which)
        first = self.first(features, degrees, own, which)
        layers: list[Tensor] = self.inner(first, own, own, mask)
        return layers

    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        known = known_columns(given, self.dim)
        return self.sample_given(noise, known, which, sampling)

    @torch.no_grad()
    def sample_given(
        self,
        noise: Tensor,
        known: Sequence[Tensor | None],
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Map uniform noise to samples, as `draw`, with given values by variable.

        Args:
            noise: Uniform numbers (batch, dim, 2).
            known: Given values (batch,) of each variable, or None where it is free.
            which: Number of the ordering.
            sampling: Temperature and nucleus of every conditional.

        Returns:
            Samples (batch, dim), NaN where a variable is absent.
        """
        network = MaskedNetwork(
            self.variables,
            self.inputs,
            self.layout,
            self.first,
            self.inner,
            self.last,
            self.direct,
        )
        order = self._sampling_orders.get(
            which,
            self.ordering_table,
            lambda: SamplingOrder.of(
                network, self.ordering_list(which), self.degrees_of(which)
            ),
        )
        return sample_masked_network(network, order, noise, known, sampling)

"""The parts of a masked network in the order in which its sampler computes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, Self

import torch
from torch import Tensor

from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.layers.features import InputFeatures
from ar_models.layers.hidden_layers import HiddenLayers
from ar_models.layers.masked_linear import MaskedLinear, sorting_permutation
from ar_models.variables import Variable


@dataclass(frozen=True)
class MaskedNetwork:
    """The parts of a MADE that its sampler reads.

    Attributes:
        variables: Descriptions of the columns of `x`.
        inputs: Map from values to input features.
        layout: Layout of the output parameters.
        first: Map from input features to the first hidden layer.
        inner: Hidden layers after the first one.
        last: Map from the last hidden layer to the parameters.
        direct: Map from input features to the parameters, if there is one.
    """

    variables: tuple[Variable, ...]
    inputs: InputFeatures
    layout: ParameterLayout
    first: MaskedLinear
    inner: HiddenLayers
    last: MaskedLinear
    direct: MaskedLinear | None


@dataclass(frozen=True)
class SamplingOrder:
    """The arrays of a masked network, sorted in the order in which they are computed.

    Attributes:
        variables: Variables in the order in which they are sampled.
        units: Number of hidden units whose degree is less than r, for each r.
        features: Input features of the first r variables, for each r.
        parameters: Output parameters of the first r variables, for each r.
        unit_index: Hidden units in sorted order; None if they are sorted.
        feature_index: Input features in sorted order.
        parameter_index: Output parameters in sorted order.
    """

    variables: list[int]
    units: list[int]
    features: list[int]
    parameters: list[int]
    unit_index: Tensor | None
    feature_index: Tensor
    parameter_index: Tensor

    @classmethod
    def of(cls, network: MaskedNetwork, variables: list[int], degrees: Tensor) -> Self:
        """Return the sampling order of a network in one of its orderings.

        Args:
            network: The network.
            variables: The variables in the ordering.
            degrees: Degrees of the hidden units (hidden,).
        """
        ranks = torch.arange(len(variables) + 1, device=degrees.device)
        features, parameters = (
            [groups.slice_of(i) for i in variables]
            for groups in (network.inputs, network.layout)
        )
        return cls(
            variables,
            torch.searchsorted(degrees.sort().values, ranks).tolist(),
            _edges(features),
            _edges(parameters),
            sorting_permutation(degrees),
            _indices(features).to(degrees.device),
            _indices(parameters).to(degrees.device),
        )


class SortedWeights(NamedTuple):
    """Weights of a masked network with rows and columns in sampling order.

    Attributes:
        first: Weights of the first hidden layer (units, features).
        inner: Weights of each further hidden layer (units, units).
        last: Weights of the parameters (parameters, units).
        direct: Weights from features to parameters, or None if there are none.
    """

    first: Tensor
    inner: list[Tensor]
    last: Tensor
    direct: Tensor | None

    @classmethod
    def of(cls, network: MaskedNetwork, order: SamplingOrder) -> Self:
        """Return the weights of a network in a sampling order."""
        units, features = order.unit_index, order.feature_index
        parameters, direct = order.parameter_index, network.direct
        maps = [linear.get_parameter("weight") for linear in network.inner.maps]
        return cls(
            permuted(network.first.weight[:, features], units, None),
            [permuted(weight, units, units) for weight in maps],
            permuted(network.last.weight[parameters], None, units),
            None if direct is None else direct.weight[parameters][:, features],
        )

    def to(self, dtype: torch.dtype) -> "SortedWeights":
        """Return the weights cast to `dtype`."""
        return SortedWeights(
            self.first.to(dtype),
            [weight.to(dtype) for weight in self.inner],
            self.last.to(dtype),
            None if self.direct is None else self.direct.to(dtype),
        )


def permuted(weight: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """Return a matrix with permuted rows and columns; None leaves them as they are."""
    if rows is not None:
        weight = weight[rows]
    return weight if columns is None else weight[:, columns]


def _edges(slices: Sequence[slice]) -> list[int]:
    """Return the boundaries of slices that are laid end to end, from 0 on."""
    return [0, *accumulate(each.stop - each.start for each in slices)]


def _indices(slices: Sequence[slice]) -> Tensor:
    """Return the indices of all slices, one slice after another."""
    return torch.cat([torch.arange(each.start, each.stop) for each in slices])

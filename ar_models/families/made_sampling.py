"""Sampling from a masked network at about the cost of one forward pass.

Variables are sampled one after another, and each computes only the hidden units that it
completes. Variables are taken in blocks: what all variables before a block contribute
to it is added by one matrix product per layer.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.discrete import Bernoulli
from ar_models.distributions.sampling import SamplingParams
from ar_models.families.made_network import (
    MaskedNetwork,
    SamplingOrder,
    SortedWeights,
    permuted,
)
from ar_models.kernels.made_sampler import BlockInputs, BlockWeights, sample_block
from ar_models.layers.draws import sample_group
from ar_models.variables import apply_given

BLOCK_UNITS = (128, 32)
"""Hidden units that are completed within a block of variables, and within each of the
smaller blocks that it is divided into."""

MIN_BLOCK_VARIABLES = 4
"""Fewest variables for which a block is divided into smaller blocks."""

MIN_COMPILED_VALUES = 2**15
"""Fewest binary values to sample for which the compiled kernel is used."""

COMPILED_ROWS = 2048
"""Rows per call of the compiled kernel, few enough for its arrays to stay in caches."""


class _Partial(NamedTuple):
    """Biases plus sums over the variables before `start`, for those from there on.

    Attributes:
        start: Number of the first variable that is not included.
        layers: Pre-activations of each hidden layer (layers, units, batch).
        output: Parameters (parameters, batch).
    """

    start: int
    layers: Tensor
    output: Tensor


def sample_masked_network(
    network: MaskedNetwork,
    order: SamplingOrder,
    noise: Tensor,
    known: Sequence[Tensor | None],
    sampling: SamplingParams,
) -> Tensor:
    """Sample rows from a masked network, one variable after another.

    Args:
        network: The network.
        order: Sampling order of one of its orderings.
        noise: Uniform numbers (batch, dim, 2).
        known: Given values (batch,) of each variable, or None where it is free.
        sampling: Temperature and nucleus of every conditional.

    Returns:
        Samples (batch, dim), NaN where a variable is absent.
    """
    dtype = product_dtype(network.first.weight)
    with torch.autocast(noise.device.type, enabled=False):
        if not can_compile(network, noise, sampling):
            sampler = BlockSampler(network, order, len(noise), dtype)
            return sampler.sample(noise, known, sampling)
        x = noise.new_empty(noise.shape[:2])
        for start in range(0, len(noise), COMPILED_ROWS):
            rows = slice(start, start + COMPILED_ROWS)
            own = [None if values is None else values[rows] for values in known]
            sampler = BlockSampler(network, order, len(noise[rows]), dtype)
            x[rows] = sampler.sample_binary(noise[rows], own, sampling)
        return x


def can_compile(
    network: MaskedNetwork, noise: Tensor, sampling: SamplingParams
) -> bool:
    """Return whether the compiled kernel supports this sample and pays for it."""
    return (
        noise.shape[0] * noise.shape[1] >= MIN_COMPILED_VALUES
        and noise.device.type == "cpu"
        and noise.dtype == network.first.weight.dtype == torch.float32
        and sampling.top_p == 1
        and all(v.kind == "binary" and v.parent is None for v in network.variables)
    )


class BlockSampler:
    """Samples a batch of rows from a masked network; all arrays are (units, batch).

    Hidden units are sorted by degree, so that the units that a variable completes are
    a slice, and no mask is needed.

    Args:
        network: The network.
        order: Sampling order of one of its orderings.
        batch: Number of rows.
        dtype: Type of the matrix products with all variables before a block.
    """

    def __init__(
        self,
        network: MaskedNetwork,
        order: SamplingOrder,
        batch: int,
        dtype: torch.dtype,
    ) -> None:
        self.network = network
        self.order = order
        self.weights = SortedWeights.of(network, order)
        self.cast_weights = self.weights
        if dtype != self.weights.first.dtype:
            self.cast_weights = self.weights.to(dtype)
        bias = network.last.bias[order.parameter_index]
        if network.direct is not None:
            bias = bias + network.direct.bias[order.parameter_index]
        units, features = self.weights.first.shape
        self.features = self.weights.first.new_empty(features, batch)
        self.features_until = 0
        layers = [network.first, *network.inner.maps]
        self.active = self.weights.first.new_empty(len(layers), units, batch)
        biases = [
            permuted(layer.get_parameter("bias").unsqueeze(-1), order.unit_index, None)
            for layer in layers
        ]
        self.partials = [_Partial(0, torch.stack(biases), bias.unsqueeze(-1))]
        variables_per_unit = len(order.variables) / units
        sizes = [round(count * variables_per_unit) for count in BLOCK_UNITS]
        inner = [n for n in sizes[1:] if n > MIN_BLOCK_VARIABLES]
        self.blocks = [max(1, sizes[0]), *inner]

    def sample(
        self, noise: Tensor, known: Sequence[Tensor | None], sampling: SamplingParams
    ) -> Tensor:
        """Sample the variables one after another: (batch, dim).

        Args:
            noise: Uniform numbers (batch, dim, 2).
            known: Given values (batch,) of each variable, or None where it is free.
            sampling: Temperature and nucleus of every conditional.
        """
        network = self.network
        uniform = noise.permute(1, 2, 0).contiguous()
        x = noise.new_full((noise.shape[1], len(noise)), torch.nan)
        for rank, i in enumerate(self.order.variables):
            self.enter(rank)
            group, _ = network.layout.single(i)
            parameters = self.parameters(rank).T
            free = sample_group(group, parameters, uniform[i].T, sampling)
            x[i] = apply_given(network.variables[i], free, known[i], x.T)
            self.add_value(rank, x.T)
        return x.T.contiguous()

    def sample_binary(
        self, noise: Tensor, known: Sequence[Tensor | None], sampling: SamplingParams
    ) -> Tensor:
        """Sample binary variables, one block per call of the kernel: (batch, dim).

        Args:
            noise: Uniform numbers (batch, dim, 2).
            known: Given values (batch,) of each variable, or None where it is free.
            sampling: Temperature of every conditional.
        """
        order, weights = self.order, self.weights
        thresholds = self._thresholds(noise, known, sampling.temperature)
        inner, direct = torch.empty(0, *self.active.shape[1:2] * 2), torch.empty(0, 0)
        if weights.inner:
            inner = torch.stack(weights.inner)
        for start, stop in pairwise([*self._block_starts(), len(order.variables)]):
            self.enter(start)
            own = slice(start, stop)
            units = slice(order.units[start], order.units[stop])
            if weights.direct is not None:
                direct = weights.direct[own, own]
            block = BlockWeights(
                first=_contiguous(weights.first[units, own]),
                inner=_contiguous(inner[:, units, units]),
                last=_contiguous(weights.last[own, units]),
                direct=_contiguous(direct),
            )
            inputs = BlockInputs(
                layers=self.partials[-1].layers.numpy(),
                logits=self.partials[-1].output.numpy(),
                thresholds=thresholds[own].numpy(),
            )
            sample_block(
                block,
                inputs,
                self.network.inner.residual,
                np.array(order.units[start : stop + 1]) - units.start,
                self.active.numpy(),
                units.start,
                self.features[own].numpy(),
            )
        x = torch.empty_like(self.features.T, memory_format=torch.contiguous_format)
        x[:, order.variables] = self.features.T
        return x

    def _thresholds(
        self, noise: Tensor, known: Sequence[Tensor | None], temperature: float
    ) -> Tensor:
        """Return what each logit must exceed for a 1, (dim, batch), in sampling order.

        All variables are binary.
        """
        # Where t logit(u) < z is u < sigmoid(z / t).
        logits = torch.logit(noise[..., 0].T).mul_(temperature)
        layout, order = self.network.layout, self.order.variables
        for group, members in zip(layout.groups, layout.members, strict=True):
            assert isinstance(group, Bernoulli)
            logits[members] = group.logit_before_mixing(logits[members])
        thresholds = logits[order]
        for rank, i in enumerate(order):
            values = known[i]
            if values is not None:
                value = torch.where(values > 0.5, -torch.inf, torch.inf)
                thresholds[rank] = torch.where(values.isnan(), thresholds[rank], value)
        return thresholds

    def enter(self, rank: int) -> None:
        """Add what comes before each block that starts at variable number `rank`."""
        outer = self.blocks[0]
        end = min(rank - rank % outer + outer, len(self.order.variables))
        for level, block in enumerate(self.blocks):
            if rank % outer % block == 0:
                stop = min(rank + block, end)
                self.partials[level + 1 :] = [
                    self._extend(self.partials[level], rank, stop)
                ]

    def _extend(self, above: _Partial, start: int, stop: int) -> _Partial:
        """Return the sums over all variables before `start`, for those before `stop`.

        Args:
            above: Sums of the enclosing block.
            start: Number of the first variable of the block.
            stop: Number of the first variable after the block.
        """
        order, weights = self.order, self.cast_weights
        units = slice(order.units[start], order.units[stop])
        below = slice(order.units[above.start], units.start)
        here = slice(below.stop - below.start, units.stop - below.start)
        new = slice(order.features[above.start], order.features[start])
        layers = self.active.new_empty(
            len(self.active), units.stop - units.start, self.active.shape[2]
        )
        partial = above.layers[0, here]
        _add_product(
            partial, weights.first[units, new], self.features[new], out=layers[0]
        )
        for k, weight in enumerate(weights.inner):
            partial, values = above.layers[k + 1, here], self.active[k, below]
            _add_product(partial, weight[units, below], values, out=layers[k + 1])
        first = order.parameters[above.start]
        outputs = slice(order.parameters[start], order.parameters[stop])
        partial = above.output[outputs.start - first : outputs.stop - first]
        values = self.active[-1, below]
        output = _add_product(partial, weights.last[outputs, below], values)
        if weights.direct is not None:
            direct = weights.direct[outputs, new]
            _add_product(output, direct, self.features[new], out=output)
        return _Partial(start, layers, output)

    def parameters(self, rank: int) -> Tensor:
        """Return the parameters (width, batch) of variable number `rank`."""
        order, partial = self.order, self.partials[-1]
        inside = slice(order.units[partial.start], order.units[rank + 1])
        units = slice(order.units[rank], inside.stop)
        if units.start < units.stop:
            self._complete_units(partial, units)
        own = slice(order.parameters[rank], order.parameters[rank + 1])
        first = order.parameters[partial.start]
        before = partial.output[own.start - first : own.stop - first]
        weights, active = self.weights.last[own, inside], self.active[-1, inside]
        parameters = torch.addmm(before, weights, active)
        if self.weights.direct is not None:
            new = slice(order.features[partial.start], self.features_until)
            parameters.addmm_(self.weights.direct[own, new], self.features[new])
        return parameters

    def _complete_units(self, partial: _Partial, units: slice) -> None:
        """Compute the units of all layers that depend on the latest variable."""
        below = self.order.units[partial.start]
        here = slice(units.start - below, units.stop - below)
        new = slice(self.order.features[partial.start], self.features_until)
        first = self.weights.first[units, new]
        h = torch.addmm(partial.layers[0, here], first, self.features[new])
        torch.clamp(h, min=0, out=self.active[0, units])
        inside = slice(below, units.stop)
        for k, weight in enumerate(self.weights.inner):
            before = partial.layers[k + 1, here]
            out = torch.addmm(before, weight[units, inside], self.active[k, inside])
            if self.network.inner.residual and k % 2 == 1:
                out = h = h + out
            torch.clamp(out, min=0, out=self.active[k + 1, units])

    def add_value(self, rank: int, x: Tensor) -> None:
        """Store the features of variable number `rank` of rows (batch, dim)."""
        features, _ = self.network.inputs.forward_one(x, self.order.variables[rank])
        self.features_until = self.order.features[rank + 1]
        self.features[self.order.features[rank] : self.features_until] = features.T

    def _block_starts(self) -> list[int]:
        """Return the numbers of the variables at which a block starts."""
        count, outer = len(self.order.variables), self.blocks[0]
        inside = range(0, outer, self.blocks[-1])
        return [s + i for s in range(0, count, outer) for i in inside if s + i < count]


def product_dtype(weight: Tensor) -> torch.dtype:
    """Return the type in which matrix products with a weight are computed."""
    device = weight.device.type
    if weight.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weight.dtype


def _contiguous(weight: Tensor) -> NDArray[np.float32]:
    return np.asarray(weight.contiguous().numpy())


def _add_product(
    before: Tensor, weight: Tensor, values: Tensor, out: Tensor | None = None
) -> Tensor:
    """Return `before` plus the product, which is computed in the weight's type."""
    if weight.dtype == before.dtype:
        return torch.addmm(before, weight, values, out=out)
    return torch.add(before, weight @ values.to(weight.dtype), out=out)

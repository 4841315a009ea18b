"""The masked linear layer of MADE, and its product without most of the zeros."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.tensor_cache import TensorCache

OUTPUT_BLOCKS = 8
"""Number of blocks of outputs into which a large product is divided; 1: undivided."""

MIN_BLOCKED_WEIGHTS = 2**16
"""Minimum number of weights of a product that is divided."""

MIN_RUN_LENGTH = 8
"""Minimum mean length of runs of columns that are copied as slices."""


class BlockTriangularWeight(NamedTuple):
    """A masked weight matrix, stored without most of its zeros.

    With inputs and outputs sorted by degree each output depends on a prefix of the
    inputs, so that a block of outputs needs the prefix of its last one only.

    Attributes:
        inputs: Permutation that sorts the inputs.
        outputs: Permutation that sorts the outputs; None if they are sorted.
        restored: Permutation that undoes the sorting of the outputs.
        weights: Weights of each block, (outputs, prefix).
    """

    inputs: "ColumnPermutation"
    outputs: Tensor | None
    restored: "ColumnPermutation"
    weights: list[Tensor]

    @classmethod
    def of(
        cls,
        weight: Tensor,
        of_inputs: Tensor,
        of_outputs: Tensor,
        dtype: torch.dtype,
    ) -> "BlockTriangularWeight":
        """Return the blocks of a weight matrix.

        Args:
            weight: Unmasked weights, (outputs, inputs).
            of_inputs: Degrees of the inputs.
            of_outputs: Degrees of the outputs.
            dtype: Type of the products.
        """
        order_in, order_out = (
            sorting_permutation(of_inputs),
            sorting_permutation(of_outputs),
        )
        if order_in is not None:
            weight, of_inputs = weight[:, order_in], of_inputs[order_in]
        if order_out is not None:
            weight, of_outputs = weight[order_out], of_outputs[order_out]
        weight = weight * (of_inputs <= of_outputs.unsqueeze(-1))
        seen = torch.searchsorted(of_inputs, of_outputs, right=True)
        weights = []
        for rows, counts in zip(
            weight.tensor_split(OUTPUT_BLOCKS),
            seen.tensor_split(OUTPUT_BLOCKS),
            strict=True,
        ):
            if len(rows):
                block = rows[:, : int(counts[-1])].to(dtype)
                weights.append(block.contiguous())
        restored = ColumnPermutation.of(
            None if order_out is None else order_out.argsort()
        )
        return cls(ColumnPermutation.of(order_in), order_out, restored, weights)

    def product(self, x: Tensor, bias: Tensor) -> Tensor:
        """Multiply: (batch, inputs) -> (batch, outputs), in the type of the weights."""
        x, bias = x.to(self.weights[0].dtype), bias.to(self.weights[0].dtype)
        x = self.inputs.permute(x)
        if self.outputs is not None:
            bias = bias[self.outputs]
        biases = bias.split([len(weight) for weight in self.weights])
        y = torch.cat(
            [
                F.linear(x[:, : weight.shape[1]], weight, own)
                for weight, own in zip(self.weights, biases, strict=True)
            ],
            -1,
        )
        return self.restored.permute(y)


class ColumnPermutation(NamedTuple):
    """A permutation of columns, applied by slices where these are long.

    Attributes:
        places: Source of each column; None for the identity.
        runs: The same as slices; empty if these are short.
    """

    places: Tensor | None
    runs: tuple[slice, ...]

    @classmethod
    def of(cls, places: Tensor | None) -> "ColumnPermutation":
        """Return the permutation with these sources (columns,)."""
        if places is None:
            return cls(None, ())
        found = places.tolist()
        starts = [
            i for i in range(len(found)) if found[i] != found[i - 1] + 1 or i == 0
        ]
        if len(starts) * MIN_RUN_LENGTH > len(found):
            return cls(places, ())
        lengths = [b - a for a, b in pairwise([*starts, len(found)])]
        runs = (
            slice(found[i], found[i] + n) for i, n in zip(starts, lengths, strict=True)
        )
        return cls(places, tuple(runs))

    def permute(self, x: Tensor) -> Tensor:
        """Permute the columns of (batch, columns)."""
        if self.places is None:
            return x
        if self.runs:
            return torch.cat([x[:, run] for run in self.runs], -1)
        return x.index_select(1, self.places)


def sorting_permutation(degrees: Tensor) -> Tensor | None:
    """Return the permutation that sorts degrees; None if they are sorted."""
    if bool((degrees[1:] >= degrees[:-1]).all()):
        return None
    return degrees.argsort(stable=True)


class MaskedLinear(nn.Module):
    """A linear layer in which outputs depend on inputs of at most their own degree.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        linear = nn.Linear(inputs, outputs)
        self.weight = linear.weight
        self.bias = linear.bias
        self._cache: TensorCache[Tensor | BlockTriangularWeight] = TensorCache()

    def forward(
        self, x: Tensor, of_inputs: Tensor, of_outputs: Tensor, which: int = 0
    ) -> Tensor:
        """Map (batch, inputs) to (batch, outputs).

        Args:
            x: Inputs.
            of_inputs: Degrees of the inputs, (inputs,).
            of_outputs: Degrees of the outputs, (outputs,).
            which: Identifies this pair of degrees in the cache.
        """
        masked = self.masked(of_inputs, of_outputs, which)
        if isinstance(masked, BlockTriangularWeight):
            return masked.product(x, self.bias)
        return F.linear(x, masked, self.bias)

    def masked(
        self, of_inputs: Tensor, of_outputs: Tensor, which: int
    ) -> Tensor | BlockTriangularWeight:
        """Return the weight with 0 where degrees forbid it, (outputs, inputs).

        In eval mode without gradients it is cached until the weight changes, in the
        type of an enclosing autocast, and on a CPU without most of its zeros.
        """
        weight = self.weight

        def product() -> Tensor:
            return weight * (of_inputs <= of_outputs.unsqueeze(-1))

        if self.training or torch.is_grad_enabled():
            return product()
        device, dtype = weight.device.type, weight.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        divided = (
            OUTPUT_BLOCKS > 1
            and weight.numel() >= MIN_BLOCKED_WEIGHTS
            and weight.device.type == "cpu"
            and not torch.compiler.is_exporting()
        )
        if not divided:
            return self._cache.get(
                (which, divided, dtype), weight, lambda: product().to(dtype)
            )
        return self._cache.get(
            (which, divided, dtype),
            weight,
            lambda: BlockTriangularWeight.of(weight, of_inputs, of_outputs, dtype),
        )

    def train(self, mode: bool = True) -> "MaskedLinear":
        self._cache = TensorCache()
        return super().train(mode)

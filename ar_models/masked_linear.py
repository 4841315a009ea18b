"""The masked linear map of MADE, and its product without most of the zeros."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.kept import Kept

BLOCKS = 8
"""Into how many blocks of outputs a large product is divided; 1: none."""

LARGE = 2**16
"""Weights from which that pays."""

RUN = 8
"""Columns in a row, in the mean, from which they are copied together."""


class Staircase(NamedTuple):
    """A masked weight without most of its zeros.

    With inputs and outputs in the order of their degrees each output sees a prefix of
    the inputs, so that a block of outputs needs the prefix of its last one only.

    Attributes:
        inputs: Places of the inputs in that order.
        outputs: Places of the outputs in that order, or None where they stand in it.
        restored: Where each output is found in that order.
        weights: Of each block, (outputs, prefix).
    """

    inputs: "Order"
    outputs: Tensor | None
    restored: "Order"
    weights: list[Tensor]

    @classmethod
    def of(
        cls,
        weight: Tensor,
        of_inputs: Tensor,
        of_outputs: Tensor,
        dtype: torch.dtype,
    ) -> "Staircase":
        """That of a weight (outputs, inputs) and the degrees of both.

        Args:
            weight: Of all inputs and outputs.
            of_inputs: The inputs' degrees.
            of_outputs: The outputs' degrees.
            dtype: Of its products.
        """
        order_in, order_out = ascending(of_inputs), ascending(of_outputs)
        if order_in is not None:
            weight, of_inputs = weight[:, order_in], of_inputs[order_in]
        if order_out is not None:
            weight, of_outputs = weight[order_out], of_outputs[order_out]
        weight = weight * (of_inputs <= of_outputs.unsqueeze(-1))
        seen = torch.searchsorted(of_inputs, of_outputs, right=True)
        weights = []
        for rows, counts in zip(
            weight.tensor_split(BLOCKS), seen.tensor_split(BLOCKS), strict=True
        ):
            if len(rows):
                block = rows[:, : int(counts[-1])].to(dtype)
                weights.append(block.contiguous())
        restored = Order.of(None if order_out is None else order_out.argsort())
        return cls(Order.of(order_in), order_out, restored, weights)

    def product(self, x: Tensor, bias: Tensor) -> Tensor:
        """(batch, inputs) -> (batch, outputs), of the weights' type."""
        x, bias = x.to(self.weights[0].dtype), bias.to(self.weights[0].dtype)
        x = self.inputs.of_columns(x)
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
        return self.restored.of_columns(y)


class Order(NamedTuple):
    """A new order of columns.

    Attributes:
        places: Where each is found, or None where all stand in it.
        runs: The same as slices, or none where these are short.
    """

    places: Tensor | None
    runs: tuple[slice, ...]

    @classmethod
    def of(cls, places: Tensor | None) -> "Order":
        """That of places, (columns,)."""
        if places is None:
            return cls(None, ())
        found = places.tolist()
        starts = [
            i for i in range(len(found)) if found[i] != found[i - 1] + 1 or i == 0
        ]
        if len(starts) * RUN > len(found):
            return cls(places, ())
        lengths = [b - a for a, b in pairwise([*starts, len(found)])]
        runs = (
            slice(found[i], found[i] + n) for i, n in zip(starts, lengths, strict=True)
        )
        return cls(places, tuple(runs))

    def of_columns(self, x: Tensor) -> Tensor:
        """(batch, columns) in this order."""
        if self.places is None:
            return x
        if self.runs:
            return torch.cat([x[:, run] for run in self.runs], -1)
        return x.index_select(1, self.places)


def ascending(degrees: Tensor) -> Tensor | None:
    """The places of degrees in ascending order, or None where they stand in it."""
    if bool((degrees[1:] >= degrees[:-1]).all()):
        return None
    return degrees.argsort(stable=True)


class MaskedLinear(nn.Module):
    """A linear map in which an output sees the inputs of at most its own degree.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        linear = nn.Linear(inputs, outputs)
        self.weight = linear.weight
        self.bias = linear.bias
        self._kept: Kept[Tensor | Staircase] = Kept()

    def forward(
        self, x: Tensor, of_inputs: Tensor, of_outputs: Tensor, which: int = 0
    ) -> Tensor:
        """(batch, inputs) -> (batch, outputs).

        Args:
            x: The inputs.
            of_inputs: Their degrees, (inputs,).
            of_outputs: The outputs' degrees, (outputs,).
            which: Number of this pair of degrees; always the same pair.
        """
        masked = self.masked(of_inputs, of_outputs, which)
        if isinstance(masked, Staircase):
            return masked.product(x, self.bias)
        return F.linear(x, masked, self.bias)

    def masked(
        self, of_inputs: Tensor, of_outputs: Tensor, which: int
    ) -> Tensor | Staircase:
        """The weight where a degree allows it, else 0: (outputs, inputs).

        In eval mode without gradients it is kept until the weight changes, in the type
        of an autocast around, and where processors multiply without most of its zeros.
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
            BLOCKS > 1
            and weight.numel() >= LARGE
            and weight.device.type == "cpu"
            and not torch.compiler.is_exporting()
        )
        if not divided:
            return self._kept.get(
                (which, divided, dtype), weight, lambda: product().to(dtype)
            )
        return self._kept.get(
            (which, divided, dtype),
            weight,
            lambda: Staircase.of(weight, of_inputs, of_outputs, dtype),
        )

    def train(self, mode: bool = True) -> "MaskedLinear":
        self._kept = Kept()
        return super().train(mode)

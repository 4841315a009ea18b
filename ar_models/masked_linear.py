"""The masked linear map of MADE, and its product without most of the zeros."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.kept import Kept

BLOCKS = 8
"""Into how many blocks of outputs a large product is divided; 1: none."""

LARGE = 2**16
"""Weights from which that pays."""


class Staircase(NamedTuple):
    """A masked weight without most of its zeros.

    With inputs and outputs in the order of their degrees each output sees a prefix of
    the inputs, so that a block of outputs needs the prefix of its last one only.

    Attributes:
        inputs: Places of the inputs in that order, or None where they stand in it.
        outputs: Places of the outputs in that order, or None where they stand in it.
        restored: Where each output is found in that order.
        weights: Of each block, (outputs, prefix).
    """

    inputs: Tensor | None
    outputs: Tensor | None
    restored: Tensor | None
    weights: list[Tensor]

    @classmethod
    def of(cls, weight: Tensor, of_inputs: Tensor, of_outputs: Tensor) -> "Staircase":
        """That of a weight (outputs, inputs) and the degrees of both."""
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
                weights.append(rows[:, : int(counts[-1])].contiguous())
        restored = None if order_out is None else order_out.argsort()
        return cls(order_in, order_out, restored, weights)

    def product(self, x: Tensor, bias: Tensor) -> Tensor:
        """(batch, inputs) -> (batch, outputs)."""
        if self.inputs is not None:
            x = x.index_select(1, self.inputs)
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
        return y if self.restored is None else y.index_select(1, self.restored)


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

        In eval mode without gradients it is kept until the weight changes, and where
        processors multiply without most of its zeros.
        """
        weight = self.weight

        def product() -> Tensor:
            return weight * (of_inputs <= of_outputs.unsqueeze(-1))

        if self.training or torch.is_grad_enabled():
            return product()
        divided = (
            BLOCKS > 1
            and weight.numel() >= LARGE
            and weight.device.type == "cpu"
            and not torch.compiler.is_exporting()
        )
        if not divided:
            return self._kept.get((which, divided), weight, product)
        return self._kept.get(
            (which, divided),
            weight,
            lambda: Staircase.of(weight, of_inputs, of_outputs),
        )

    def train(self, mode: bool = True) -> "MaskedLinear":
        self._kept = Kept()
        return super().train(mode)

"""Scan of hidden vectors over the positions of an ordering, for NADE families.

At position p of an ordering, the pre-activation is the bias plus what the variables at
the positions before p contribute. All hidden vectors of a batch would be
(batch, dim, hidden) numbers, which are never held: the pre-activation runs through the
positions in blocks, and the backward pass takes the blocks in reverse, each time
subtracting the contribution of the block.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Activation = Literal["relu", "sigmoid"]
"""Activation function of the hidden units."""

CACHED = 2**18
"""Number of pre-activations that fit the cache of a CPU."""


@dataclass(frozen=True)
class ScanBlock:
    """Consecutive positions with equally many parameters each.

    Attributes:
        positions: Slice of the positions.
        inputs: Slice of their features, in the order of the plan.
        outputs: Slice of their parameters, in the order of the plan.
    """

    positions: slice
    inputs: slice
    outputs: slice


@dataclass(frozen=True)
class ScanPlan:
    """Features and parameters in the order in which an ordering takes them.

    Attributes:
        blocks: Blocks of positions, in order.
        inputs: Indices of the features in that order, (features,).
        outputs: Indices of the parameters in that order, (parameters,).
        ranks: Position of the variable of each feature in that order, (features,).
    """

    blocks: tuple[ScanBlock, ...]
    inputs: Tensor
    outputs: Tensor
    ranks: Tensor


def make_scan_plan(
    order: Tensor, of_inputs: Tensor, of_outputs: Tensor, positions: int, features: int
) -> ScanPlan:
    """Return the plan for an ordering.

    Args:
        order: Variables in order, (dim,).
        of_inputs: Variable of each feature.
        of_outputs: Variable of each parameter.
        positions: Maximum number of positions of a block.
        features: Maximum number of features of a block of several positions.
    """
    ranks = order.argsort()
    in_ranks, out_ranks = ranks[of_inputs], ranks[of_outputs]
    blocks = _blocks(
        in_ranks.bincount(minlength=len(order)).tolist(),
        out_ranks.bincount(minlength=len(order)).tolist(),
        positions,
        features,
    )
    inputs = in_ranks.argsort(stable=True)
    outputs = out_ranks.argsort(stable=True)
    return ScanPlan(tuple(blocks), inputs, outputs, in_ranks[inputs])


def _blocks(
    inputs: Sequence[int], outputs: Sequence[int], positions: int, features: int
) -> Iterator[ScanBlock]:
    """Yield blocks, from the numbers of features and parameters of each position."""
    start = stop = first_input = first_output = 0
    while start < len(inputs):
        width, wide = outputs[start], inputs[start]
        stop = start + 1
        while (
            stop < min(start + positions, len(inputs))
            and outputs[stop] == width
            and wide + inputs[stop] <= features
        ):
            wide += inputs[stop]
            stop += 1
        last_input = first_input + wide
        last_output = first_output + width * (stop - start)
        yield ScanBlock(
            slice(start, stop),
            slice(first_input, last_input),
            slice(first_output, last_output),
        )
        start, first_input, first_output = stop, last_input, last_output


def pre_activations(
    carry: Tensor, features: Tensor, weight: Tensor, plan: ScanPlan, block: ScanBlock
) -> Tensor:
    """Compute the pre-activations at the positions of a block.

    Args:
        carry: Pre-activation at the first position of the block, (batch, hidden).
        features: All features in the order of the plan, (batch, features).
        weight: Weights of the features, (features, hidden).
        plan: The plan.
        block: The block.

    Returns:
        (positions, batch, hidden); the carry itself if there is one position.
    """
    count = block.positions.stop - block.positions.start
    if count == 1:
        return carry.unsqueeze(0)
    within = _within(weight, plan, block)
    own = features[:, block.inputs].expand(count, -1, -1)
    return torch.baddbmm(carry.expand(count, -1, -1), own, within)


def _within(weight: Tensor, plan: ScanPlan, block: ScanBlock) -> Tensor:
    """Return masked weights of a block, (positions, features, hidden)."""
    return weight[block.inputs] * _earlier(plan, block).to(weight.dtype).unsqueeze(-1)


def _earlier(plan: ScanPlan, block: ScanBlock) -> Tensor:
    """Return which features of a block precede each position, (positions, features)."""
    places = torch.arange(
        block.positions.start, block.positions.stop, device=plan.ranks.device
    )
    return plan.ranks[block.inputs] < places.unsqueeze(-1)


def activate(activation: Activation, a: Tensor) -> Tensor:
    """Apply the activation function to pre-activations."""
    return a.clamp(min=0) if activation == "relu" else a.sigmoid()


def scan(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    heads: Tensor,
    plan: ScanPlan,
    *,
    activation: Activation,
    keep: Tensor | None = None,
) -> Tensor:
    """Compute the parameters of all positions from their hidden vectors.

    Computes in the type of its arguments, also under autocast.

    Args:
        features: Features in the order of the plan, (batch, features).
        weight: Weights of the features, (features, hidden).
        bias: Bias of the pre-activations, (hidden,).
        heads: A row for each parameter, in the order of the plan, (parameters, hidden).
        plan: The plan.
        activation: Activation function of the hidden units.
        keep: Factor of the hidden units (dropout mask), (batch, hidden).

    Returns:
        (batch, parameters), in the order of the plan.
    """
    rows = max(64, CACHED // len(bias)) if features.device.type == "cpu" else None
    kept = [None] * len(features) if keep is None else keep.split(rows or len(keep))
    with torch.autocast(features.device.type, enabled=False):
        parts = [
            _Scan.apply(  # type: ignore[no-untyped-call] # torch does not annotate it
                part, weight, bias, heads, mine, (plan, activation)
            )
            for part, mine in zip(
                features.split(rows or max(len(features), 1)), kept, strict=False
            )
        ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Scan(torch.autograd.Function):
    """The scan of a block of rows; its backward pass stores no hidden vectors."""

    @staticmethod
    def forward(
        ctx: Any,  # torch's context of a function
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        heads: Tensor,
        keep: Tensor | None,
        settings: tuple[ScanPlan, Activation],
    ) -> Tensor:
        plan, activation = settings
        batch = len(features)
        a = bias.expand(batch, -1).clone()
        out = features.new_empty(len(heads), batch)
        for block in plan.blocks:
            here = pre_activations(a, features, weight, plan, block)
            h = _hidden(here, keep, activation)
            count = len(here)
            torch.bmm(
                heads[block.outputs].unflatten(0, (count, -1)),
                h.transpose(1, 2),
                out=out[block.outputs].unflatten(0, (count, -1)),
            )
            torch.addmm(a, features[:, block.inputs], weight[block.inputs], out=a)
        ctx.save_for_backward(features, weight, heads, keep, a)
        ctx.plan, ctx.activation = plan, activation
        return out.T

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # as above
        with torch.autocast(gradient.device.type, enabled=False):
            reverse = _ScanBackward(ctx, gradient.T.contiguous())
            for block in reversed(ctx.plan.blocks):
                reverse.take(block)
        return (
            reverse.features,
            reverse.weight,
            reverse.carry.sum(0),
            reverse.heads,
            None,
            None,
        )


def _hidden(a: Tensor, keep: Tensor | None, activation: Activation) -> Tensor:
    """Compute the hidden units of a block, (positions, batch, hidden)."""
    h = activate(activation, a)
    return h if keep is None else h.mul_(keep)


class _ScanBackward:
    """Gradients of a `_Scan`, accumulated from the last block to the first.

    Args:
        ctx: The context that the forward pass left.
        gradient: Gradient of the parameters, (parameters, batch).

    Attributes:
        features: Gradient of the features, or None if it is not needed.
        weight: Gradient of the weights.
        carry: Gradient of the pre-activation at the first position of the last block.
        heads: Gradient of the heads.
    """

    def __init__(self, ctx: Any, gradient: Tensor) -> None:  # torch's context
        self.of = ctx.saved_tensors
        features, weight, heads, _, a = self.of
        self.plan: ScanPlan = ctx.plan
        self.activation: Activation = ctx.activation
        self.gradient = gradient
        self.a = a.clone()
        self.features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        self.weight = torch.empty_like(weight)
        self.heads = torch.empty_like(heads)
        self.carry = torch.zeros_like(a)

    def take(self, block: ScanBlock) -> None:
        """Add the contributions of a block to all gradients."""
        features, weight, heads, keep, _ = self.of
        own = features[:, block.inputs]
        torch.mm(own.T, self.carry, out=self.weight[block.inputs])
        if self.features is not None:
            self.features[:, block.inputs] = self.carry @ weight[block.inputs].T
        torch.addmm(self.a, own, weight[block.inputs], alpha=-1, out=self.a)
        here = pre_activations(self.a, features, weight, self.plan, block)
        h = _hidden(here, None, self.activation)
        count = len(here)
        gradient = self.gradient[block.outputs].unflatten(0, (count, -1))
        of_heads = self.heads[block.outputs].unflatten(0, (count, -1))
        torch.bmm(gradient, h if keep is None else h * keep, out=of_heads)
        rows = heads[block.outputs].unflatten(0, (count, -1))
        of_a = self._through(torch.bmm(gradient.transpose(1, 2), rows), h)
        if count > 1:
            self._spread(block, own, of_a)
        self.carry += of_a.sum(0) if count > 1 else of_a[0]

    def _through(self, of_h: Tensor, h: Tensor) -> Tensor:
        """Compute the gradient before the activation, (positions, batch, hidden)."""
        keep = self.of[3]
        if keep is not None:
            of_h = of_h.mul_(keep)
        backward: Callable[..., Tensor] = (
            torch.ops.aten.sigmoid_backward
            if self.activation == "sigmoid"
            else lambda g, h: torch.ops.aten.threshold_backward(g, h, 0)
        )
        return backward(of_h, h)

    def _spread(self, block: ScanBlock, own: Tensor, of_a: Tensor) -> None:
        """Add gradients that features get from later positions of their block."""
        weight = self.of[1]
        products = own.T.expand(len(of_a), -1, -1) @ of_a
        earlier = _earlier(self.plan, block).to(weight.dtype).unsqueeze(-1)
        self.weight[block.inputs] += (products * earlier).sum(0)
        if self.features is not None:
            within = _within(weight, self.plan, block)
            self.features[:, block.inputs] += (of_a @ within.transpose(1, 2)).sum(0)

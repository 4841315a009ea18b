"""Hidden vectors that grow by one variable at a time, as the NADE families need.

At position p of an ordering, the pre-activation is the bias plus what the variables at
the positions before p contribute. All hidden vectors of a batch would be
(batch, dim, hidden) numbers, which are never held: the pre-activation runs through the
positions in blocks, and the backward pass takes the blocks in reverse, each time
subtracting what the block had added.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Activation = Literal["relu", "sigmoid"]
"""Of the hidden units."""

CACHED = 2**18
"""Numbers of a running pre-activation that fit a processor's cache."""


@dataclass(frozen=True)
class Block:
    """Neighbouring positions with as many parameters each.

    Attributes:
        positions: Which.
        inputs: Where their features stand, in the order in which they are taken.
        outputs: Where their parameters stand, likewise.
    """

    positions: slice
    inputs: slice
    outputs: slice


@dataclass(frozen=True)
class Plan:
    """How an ordering goes through features and parameters.

    Attributes:
        blocks: In the order in which they are taken.
        inputs: The features in the order in which they are taken, (features,).
        outputs: The parameters likewise, (parameters,).
        ranks: The position of each feature's variable, in that order, (features,).
    """

    blocks: tuple[Block, ...]
    inputs: Tensor
    outputs: Tensor
    ranks: Tensor


def make_plan(
    order: Tensor, of_inputs: Tensor, of_outputs: Tensor, positions: int, features: int
) -> Plan:
    """The plan for an ordering.

    Args:
        order: The variables as they are taken, (dim,).
        of_inputs: The variable of each feature.
        of_outputs: The variable of each parameter.
        positions: Positions in a block, at most.
        features: Features in a block of more than one position, at most.
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
    return Plan(tuple(blocks), inputs, outputs, in_ranks[inputs])


def _blocks(
    inputs: Sequence[int], outputs: Sequence[int], positions: int, features: int
) -> Iterator[Block]:
    """Blocks over positions with so many features and parameters each."""
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
        last_input, last_output = (
            first_input + wide,
            first_output + width * (stop - start),
        )
        yield Block(
            slice(start, stop),
            slice(first_input, last_input),
            slice(first_output, last_output),
        )
        start, first_input, first_output = stop, last_input, last_output


def pre_activations(
    carry: Tensor, features: Tensor, weight: Tensor, plan: Plan, block: Block
) -> Tensor:
    """The pre-activations at the positions of a block.

    Args:
        carry: That at the block's first position, (batch, hidden).
        features: All features in the order of the plan, (batch, features).
        weight: Their weights, (features, hidden).
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


def _within(weight: Tensor, plan: Plan, block: Block) -> Tensor:
    """What each position sees of its block, (positions, features, hidden)."""
    return weight[block.inputs] * _earlier(plan, block).to(weight.dtype).unsqueeze(-1)


def _earlier(plan: Plan, block: Block) -> Tensor:
    """Which features of a block come before which position, (positions, features)."""
    places = torch.arange(
        block.positions.start, block.positions.stop, device=plan.ranks.device
    )
    return plan.ranks[block.inputs] < places.unsqueeze(-1)


def activate(activation: Activation, a: Tensor) -> Tensor:
    """Hidden units from their pre-activations."""
    return a.clamp(min=0) if activation == "relu" else a.sigmoid()


def run(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    heads: Tensor,
    plan: Plan,
    *,
    activation: Activation,
    scale: Tensor | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """What each position's head makes of its hidden vector.

    Computes in the type of its arguments, also under autocast.

    Args:
        features: In the order of the plan, (batch, features).
        weight: Their contributions, (features, hidden).
        bias: Of the pre-activation, (hidden,).
        heads: A row for each parameter, in the order of the plan, (parameters, hidden).
        plan: The plan.
        activation: Of the hidden units.
        scale: Multiplies the pre-activation at each position, (dim,).
        keep: Multiplies the hidden units at every position, (batch, hidden).

    Returns:
        (batch, parameters), in the order of the plan.
    """
    rows = max(64, CACHED // len(bias)) if features.device.type == "cpu" else None
    kept = [None] * len(features) if keep is None else keep.split(rows or len(keep))
    with torch.autocast(features.device.type, enabled=False):
        parts = [
            _Run.apply(  # type: ignore[no-untyped-call] # torch does not annotate it
                part, weight, bias, heads, scale, mine, plan, activation
            )
            for part, mine in zip(
                features.split(rows or max(len(features), 1)), kept, strict=False
            )
        ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Run(torch.autograd.Function):
    """`run` for rows that are taken together."""

    @staticmethod
    def forward(
        ctx: Any,  # torch's context of a function
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        heads: Tensor,
        scale: Tensor | None,
        keep: Tensor | None,
        plan: Plan,
        activation: Activation,
    ) -> Tensor:
        batch = len(features)
        a = bias.expand(batch, -1).clone()
        out = features.new_empty(len(heads), batch)
        for block in plan.blocks:
            here = pre_activations(a, features, weight, plan, block)
            h = _hidden(here, block, scale, keep, activation)
            count = len(here)
            torch.bmm(
                heads[block.outputs].unflatten(0, (count, -1)),
                h.transpose(1, 2),
                out=out[block.outputs].unflatten(0, (count, -1)),
            )
            torch.addmm(a, features[:, block.inputs], weight[block.inputs], out=a)
        ctx.save_for_backward(features, weight, heads, scale, keep, a)
        ctx.plan, ctx.activation = plan, activation
        return out.T

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # as above
        with torch.autocast(gradient.device.type, enabled=False):
            reverse = _Reverse(ctx, gradient.T.contiguous())
            for block in reversed(ctx.plan.blocks):
                reverse.take(block)
        return (
            reverse.features,
            reverse.weight,
            reverse.carry.sum(0),
            reverse.heads,
            reverse.scale,
            None,
            None,
            None,
        )


def _hidden(
    a: Tensor,
    block: Block,
    scale: Tensor | None,
    keep: Tensor | None,
    activation: Activation,
) -> Tensor:
    """The hidden units at the positions of a block, (positions, batch, hidden)."""
    if scale is not None:
        a = a * scale[block.positions, None, None]
    h = activate(activation, a)
    return h if keep is None else h.mul_(keep)


class _Reverse:
    """The gradients of a `_Run`, block by block from the last to the first.

    Args:
        ctx: The context that the forward pass left.
        gradient: Of the parameters, (parameters, batch).

    Attributes:
        features: Gradient of the features so far, or None if nobody asks for it.
        weight: That of the weights.
        carry: That of the pre-activation at the last block's first position.
        heads: That of the heads.
        scale: That of the scales, if there are any.
    """

    def __init__(self, ctx: Any, gradient: Tensor) -> None:  # torch's context
        self.of = ctx.saved_tensors
        features, weight, heads, scale, _, a = self.of
        self.plan: Plan = ctx.plan
        self.activation: Activation = ctx.activation
        self.gradient = gradient
        self.a = a.clone()
        self.features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        self.weight = torch.empty_like(weight)
        self.heads = torch.empty_like(heads)
        self.scale = None if scale is None else torch.empty_like(scale)
        self.carry = torch.zeros_like(a)

    def take(self, block: Block) -> None:
        """Adds what a block contributes."""
        features, weight, heads, scale, keep, _ = self.of
        own = features[:, block.inputs]
        torch.mm(own.T, self.carry, out=self.weight[block.inputs])
        if self.features is not None:
            self.features[:, block.inputs] = self.carry @ weight[block.inputs].T
        torch.addmm(self.a, own, weight[block.inputs], alpha=-1, out=self.a)
        here = pre_activations(self.a, features, weight, self.plan, block)
        h = _hidden(here, block, scale, None, self.activation)
        count = len(here)
        gradient = self.gradient[block.outputs].unflatten(0, (count, -1))
        of_heads = self.heads[block.outputs].unflatten(0, (count, -1))
        torch.bmm(gradient, h if keep is None else h * keep, out=of_heads)
        rows = heads[block.outputs].unflatten(0, (count, -1))
        of_a = self._through(torch.bmm(gradient.transpose(1, 2), rows), h)
        if scale is not None and self.scale is not None:
            self.scale[block.positions] = (of_a * here).sum((1, 2))
            of_a = of_a * scale[block.positions, None, None]
        if count > 1:
            self._spread(block, own, of_a)
        self.carry += of_a.sum(0) if count > 1 else of_a[0]

    def _through(self, of_h: Tensor, h: Tensor) -> Tensor:
        """The gradient before the activation, (positions, batch, hidden)."""
        keep = self.of[4]
        if keep is not None:
            of_h = of_h.mul_(keep)
        backward: Callable[..., Tensor] = (
            torch.ops.aten.sigmoid_backward
            if self.activation == "sigmoid"
            else lambda g, h: torch.ops.aten.threshold_backward(g, h, 0)
        )
        return backward(of_h, h)

    def _spread(self, block: Block, own: Tensor, of_a: Tensor) -> None:
        """What a block's features get from the positions after them in the block."""
        weight = self.of[1]
        products = own.T.expand(len(of_a), -1, -1) @ of_a
        earlier = _earlier(self.plan, block).to(weight.dtype).unsqueeze(-1)
        self.weight[block.inputs] += (products * earlier).sum(0)
        if self.features is not None:
            within = _within(weight, self.plan, block)
            self.features[:, block.inputs] += (of_a @ within.transpose(1, 2)).sum(0)

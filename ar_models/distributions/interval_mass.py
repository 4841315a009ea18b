"""Probabilities of consecutive intervals in mixtures of logistics."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def interval_mass(
    edges: Tensor,
    widths: Tensor,
    log_weight: Tensor,
    location: Tensor,
    log_scale: Tensor,
) -> Tensor:
    """Compute probabilities of consecutive intervals in mixtures of logistics.

    Args:
        edges: Ascending edges, broadcastable to (*batch, n + 1).
        widths: Their exact differences, broadcastable to (*batch, n).
        log_weight: Log-weights, (*batch, components).
        location: Medians, likewise.
        log_scale: Log-scales, likewise.

    Returns:
        (*batch, n), accurate also where they are small; differentiable once with
        respect to the last three.
    """
    if torch.compiler.is_exporting():
        inside, _ = _components(edges, widths, location, log_scale)
        return (inside * log_weight.exp().unsqueeze(-1)).sum(-2)
    batch = torch.broadcast_shapes(edges.shape[:-1], location.shape[:-1])
    parts = (p.expand(*batch, -1) for p in (log_weight.exp(), location, log_scale))
    mass: Tensor = _IntervalMass.apply(edges, widths, *parts)  # type: ignore[no-untyped-call] # torch does not annotate it
    return mass


class _IntervalMass(torch.autograd.Function):
    """Masses of intervals, whose backward pass needs the densities at the edges only.

    Automatic differentiation would keep ten tensors with a number for every edge of
    every component, and take three times as long.
    """

    @staticmethod
    def forward(
        ctx: Any,  # torch's context object
        edges: Tensor,
        widths: Tensor,
        weight: Tensor,
        location: Tensor,
        log_scale: Tensor,
    ) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            inside, z = _components(edges, widths, location, log_scale)
            ctx.save_for_backward(inside, z, weight, log_scale)
            # A product of matrices would round equal rows differently.
            return (weight.unsqueeze(-1) * inside).sum(-2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inside, z, weight, log_scale = ctx.saved_tensors
        with torch.autocast(weight.device.type, enabled=False):
            tail = z.abs().neg_().sigmoid_()
            density = tail.addcmul(tail, tail, value=-1)
            nothing = grad.new_zeros(*grad.shape[:-1], 1)
            at_edge = torch.cat([nothing, grad], -1) - torch.cat([grad, nothing], -1)
            moved = (density @ at_edge.unsqueeze(-1)).squeeze(-1)
            widened = (density.mul_(z) @ at_edge.unsqueeze(-1)).squeeze(-1)
            of_weight = (inside @ grad.unsqueeze(-1)).squeeze(-1)
            of_location = -weight * torch.exp(-log_scale) * moved
            return None, None, of_weight, of_location, -weight * widened


def _components(
    edges: Tensor, widths: Tensor, location: Tensor, log_scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Return masses of intervals in each component, and the edges in its scales."""
    sharpness = torch.exp(-log_scale).unsqueeze(-1)
    z = (edges.unsqueeze(-2) - location.unsqueeze(-1)) * sharpness
    inside = one_minus_exp(widths.unsqueeze(-2) * sharpness)
    below, above = z[..., 1:], -z[..., :-1]
    if torch.compiler.is_exporting():  # onnxruntime's sigmoid is rough near 0
        return inside * (F.logsigmoid(below) + F.logsigmoid(above)).exp(), z
    return inside * below.sigmoid() * above.sigmoid(), z


def one_minus_exp(x: Tensor) -> Tensor:
    """Compute 1 - exp(-x) for x >= 0 without cancellation."""
    if torch.compiler.is_exporting():  # ONNX has no expm1, but a sinh
        near = x.clamp(max=1) / 2
        small = 2 * near.sinh() * torch.exp(-near)
        return torch.where(x < 1, small, 1 - torch.exp(-x))
    return -torch.expm1(-x)

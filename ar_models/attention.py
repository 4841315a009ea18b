"""Causal attention, as it is fastest where it runs."""

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST = 512
"""Places up to which training on a CPU holds all the weights of attention."""

TOGETHER = 2**21
"""Of the weights, at most so many are made at once, so that they stay in the cache."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Each place's mean of the values at itself and before, weighted by attention.

    The fused kernel of PyTorch, save for training on a CPU: there its backward pass
    takes several times as long as that of plain products, unless places are many.

    Args:
        q: Queries, (batch, heads, places, width).
        k: Keys, likewise.
        v: Values, likewise.

    Returns:
        (batch, heads, places, width).

    Reference:
        Vaswani et al., Attention is all you need, 2017.
        https://arxiv.org/abs/1706.03762
    """
    products = q.device.type == "cpu" and q.requires_grad and q.shape[2] <= LONGEST
    if not products or torch.compiler.is_compiling():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return _by_products(q, k, v)


def _by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    places, width = q.shape[2:]
    later = torch.full((places, places), -torch.inf, dtype=q.dtype).triu(1)
    together = max(1, TOGETHER // places**2)
    parts = []
    for own, keys, values in zip(
        *(t.flatten(0, 1).split(together) for t in (q, k, v)), strict=True
    ):
        mask = later.expand(len(own), -1, -1)
        scores = torch.baddbmm(mask, own, keys.transpose(1, 2), alpha=width**-0.5)
        parts.append(torch.bmm(scores.softmax(-1), values))
    return torch.cat(parts).view(q.shape)
